//! The text of a file: UTF-8, or what its mark of byte order (Unicode section 23.8) says, which spreadsheets write.

/// Text, and the first byte that is none: where it would stand in the text, and how the encoding is called.
pub(super) struct Decoded {
    pub(super) text: String,
    pub(super) wrong: Option<Wrong>,
}

/// A place that is not valid; it is [`char::REPLACEMENT_CHARACTER`] in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) offset: usize,
    /// What stands there: a byte, or a unit of two.
    pub(super) unit: u16,
    pub(super) encoding: &'static str,
}

/// Decodes the bytes of a file, without a mark of byte order.
pub(super) fn decode(mut bytes: Vec<u8>) -> Decoded {
    match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, ..] => {
            bytes.drain(..3);
            utf8(bytes)
        }
        _ => utf8(bytes),
    }
}

fn utf8(bytes: Vec<u8>) -> Decoded {
    match String::from_utf8(bytes) {
        Ok(text) => Decoded { text, wrong: None },
        Err(error) => {
            let offset = error.utf8_error().valid_up_to();
            let unit = error.as_bytes()[offset].into();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            Decoded { text, wrong: Some(Wrong { offset, unit, encoding: "UTF-8" }) }
        }
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Decoded {
    let (mut text, mut wrong) = (String::with_capacity(bytes.len()), None);
    let mut mark = |text: &mut String, unit| {
        wrong.get_or_insert(Wrong { offset: text.len(), unit, encoding: "UTF-16" });
        text.push(char::REPLACEMENT_CHARACTER);
    };
    let (pairs, rest) = bytes.as_chunks::<2>();
    for character in char::decode_utf16(pairs.iter().map(|&pair| unit(pair))) {
        match character {
            Ok(character) => text.push(character),
            Err(error) => mark(&mut text, error.unpaired_surrogate()),
        }
    }
    if let Some(&byte) = rest.first() {
        mark(&mut text, byte.into());
    }
    Decoded { text, wrong }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16_bytes(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        format!("\u{feff}{text}").encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn a_mark_of_byte_order_is_believed_and_left_out() {
        let text = "id,name\nä,\u{1f6e3}\n";
        for bytes in [
            text.as_bytes().to_vec(),
            format!("\u{feff}{text}").into_bytes(),
            utf16_bytes(text, u16::to_le_bytes),
            utf16_bytes(text, u16::to_be_bytes),
        ] {
            let decoded = decode(bytes);
            assert_eq!((decoded.text.as_str(), decoded.wrong), (text, None));
        }
    }

    #[test]
    fn what_is_not_valid_has_its_place() {
        let decoded = decode(b"\xef\xbb\xbfab\xe9cd".to_vec());
        assert_eq!(decoded.text, "ab\u{fffd}cd");
        assert_eq!(decoded.wrong, Some(Wrong { offset: 2, unit: 0xe9, encoding: "UTF-8" }));
        let mut cut = utf16_bytes("ab\u{1f6e3}", u16::to_le_bytes);
        cut.truncate(cut.len() - 1);
        let decoded = decode(cut);
        assert_eq!(decoded.text, "ab\u{fffd}\u{fffd}");
        assert_eq!(decoded.wrong.map(|wrong| (wrong.offset, wrong.encoding)), Some((2, "UTF-16")));
        assert_eq!(decode(Vec::new()).text, "");
    }
}
