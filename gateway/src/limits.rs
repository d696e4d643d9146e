//! Limits of the system, told apart by what it says when one is reached: the advice is another one than for whatever
//! was tried.

use std::io;

/// What the operator can do if an error is a limit's; none: it is not.
pub(crate) fn remedy(error: &io::Error) -> Option<&'static str> {
    error.raw_os_error().and_then(remedy_of)
}

/// The same for a text that ends in what the kernel said of a program, a table or a pin, as [`io::Error`] writes it:
/// `(os error 24)`. ENOSPC is a full table there, of which the caller knows more.
pub(crate) fn remedy_in(text: &str) -> Option<&'static str> {
    let (_, code) = text.rsplit_once("(os error ")?;
    remedy_of(code.split(')').next()?.parse().ok().filter(|&code| code != libc::ENOSPC)?)
}

fn remedy_of(code: i32) -> Option<&'static str> {
    Some(match code {
        libc::EMFILE => {
            "This process has too many files open: raise LimitNOFILE= in the unit (`ulimit -n` in a shell)"
        }
        libc::ENFILE => "The machine has too many files open: raise fs.file-max by sysctl",
        libc::ENOMEM => {
            "Memory is short: raise MemoryMax= of the unit, or RLIMIT_MEMLOCK (LimitMEMLOCK=) before Linux 5.11, or \
             add memory, or lower [limits] and the sizes in [detect]"
        }
        libc::ENOSPC => {
            "There is no room left: free some on the disk, or raise the limit that the message names"
        }
        libc::EDQUOT => "The quota of this user is used up: free some of its files",
        libc::EROFS => {
            "The file system is mounted read-only: mount it writable, or see in the kernel's log why"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_from_other_errors() {
        let told = |code| remedy(&io::Error::from_raw_os_error(code));
        assert!(told(libc::EMFILE).is_some_and(|remedy| remedy.contains("LimitNOFILE")));
        assert_eq!(told(libc::ENOENT), None);
        let text = format!("attaching: {}", io::Error::from_raw_os_error(libc::ENOMEM));
        assert!(remedy_in(&text).is_some_and(|remedy| remedy.contains("MemoryMax")), "{text}");
        assert_eq!(remedy_in(&io::Error::from_raw_os_error(libc::ENOSPC).to_string()), None);
        assert_eq!(remedy_in("the verifier refused it"), None);
        assert_eq!(remedy_in("(os error x)"), None);
    }
}
