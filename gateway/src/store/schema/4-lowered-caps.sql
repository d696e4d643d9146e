-- What a tenant is held to while a measure holds, in bits per second; NULL: its own cap.
ALTER TABLE measures ADD COLUMN up_bits_per_second INTEGER;
ALTER TABLE measures ADD COLUMN down_bits_per_second INTEGER;
