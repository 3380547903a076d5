//! Secrets as text, in a form like PEM: base64 in lines of 64 between BEGIN and END lines. Used for credentials and
//! operator keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Texts longer than this are not read.
const MAX: usize = 1024 * 1024;

/// The text of `bytes`.
pub(crate) fn write(label: &str, bytes: &[u8]) -> Zeroizing<String> {
    let encoded = Zeroizing::new(STANDARD.encode(bytes));
    let mut text = Zeroizing::new(format!("-----BEGIN {label}-----\n"));
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = behind;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// The bytes of the text. Lines before BEGIN and after END are ignored, and spaces at the ends of lines.
pub(crate) fn read(label: &str, text: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    if text.len() > MAX {
        return Err("it is too long");
    }
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let mut lines = text.lines().map(str::trim).skip_while(|line| *line != begin);
    lines.next().ok_or("it has no BEGIN line")?;
    let mut encoded = Zeroizing::new(String::with_capacity(text.len()));
    for line in lines {
        if line == end {
            return STANDARD
                .decode(encoded.as_bytes())
                .map(Zeroizing::new)
                .map_err(|_| "it is not base64");
        }
        encoded.push_str(line);
    }
    Err("it has no END line")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_survive_their_text_form(bytes: Vec<u8>) {
            let text = write("A THING", &bytes);
            let mailed = format!("Here it is:\r\n{}\r\nRegards", text.replace('\n', "  \r\n"));
            prop_assert_eq!(&*read("A THING", &text).unwrap(), &bytes);
            prop_assert_eq!(&*read("A THING", &mailed).unwrap(), &bytes);
            prop_assert!(read("ANOTHER", &text).is_err());
        }
    }

    #[test]
    fn a_text_that_is_cut_off_is_refused() {
        let text = write("A THING", &[7; 100]);
        assert!(read("A THING", &text[..text.len() - 20]).is_err());
        assert!(read("A THING", "").is_err());
    }
}
