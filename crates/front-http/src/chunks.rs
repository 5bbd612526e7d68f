//! Where a chunked body ends (RFC 9112, section 7.1).

/// Follows a chunked body to its end, without looking at what is in it.
///
/// At least as strict as hyper, which decodes it: lines end with CR LF, sizes are hexadecimal digits. Extensions and trailers are
/// passed over, together at most `ASIDE_MAX` bytes; hyper alone looks at whether a trailer is one.
#[derive(Debug)]
pub struct Chunks {
    at: At,
    aside: usize,
}

/// Bytes of extensions and trailers, which mean nothing here: as much as hyper takes.
const ASIDE_MAX: usize = 16 * 1024;

#[derive(Clone, Copy, Debug)]
enum At {
    /// In the digits of a size, of which there have been some or none.
    Size {
        size: u64,
        has_digits: bool,
    },
    /// In white space after the size.
    Space {
        size: u64,
    },
    /// In what follows the size, up to its CR.
    Extension {
        size: u64,
    },
    /// At the LF of a size.
    SizeEnd {
        size: u64,
    },
    /// In a chunk, with so much left of it.
    Data {
        left: u64,
    },
    /// At the CR or the LF after a chunk.
    DataCr,
    DataLf,
    /// At the beginning of a trailer, or of the empty line that ends them all.
    Line,
    /// In a trailer.
    Trailer,
    /// At the LF of a trailer.
    TrailerEnd,
    /// At the last LF.
    End,
    Over,
}

/// What a chunked body came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// All bytes are the body's, and more have to come.
    Going,
    /// The body ends after so many of these bytes.
    Over(usize),
    /// This is no chunked body: what follows so many of these bytes cannot stand there.
    Broken(usize),
}

impl Chunks {
    /// At the beginning of a body.
    #[expect(clippy::new_without_default, reason = "a body begins, it is not there")]
    #[must_use]
    pub fn new() -> Self {
        Self {
            at: At::Size {
                size: 0,
                has_digits: false,
            },
            aside: 0,
        }
    }

    /// Takes the next bytes.
    pub fn advance(&mut self, bytes: &[u8]) -> Progress {
        let mut read = 0;
        while let Some(&byte) = bytes.get(read) {
            if let At::Data { left } = self.at {
                let here = usize::try_from(left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len() - read);
                read += here;
                self.at = match left - here as u64 {
                    0 => At::DataCr,
                    left => At::Data { left },
                };
                continue;
            }
            let Some(next) = self.at.next(byte) else {
                return Progress::Broken(read);
            };
            if matches!(next, At::Space { .. } | At::Extension { .. } | At::Trailer) {
                self.aside += 1;
                if ASIDE_MAX < self.aside {
                    return Progress::Broken(read);
                }
            }
            read += 1;
            self.at = next;
            if let At::Over = next {
                return Progress::Over(read);
            }
        }
        Progress::Going
    }
}

impl At {
    /// Where `byte` leads to. `None`: it must not stand here.
    fn next(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Size { size, .. }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = u64::from(char::from(byte).to_digit(16)?);
                Self::Size {
                    size: size.checked_mul(16)?.checked_add(digit)?,
                    has_digits: true,
                }
            }
            (
                Self::Size {
                    has_digits: false, ..
                },
                _,
            ) => return None,
            (Self::Size { size, .. } | Self::Space { size } | Self::Extension { size }, b'\r') => {
                Self::SizeEnd { size }
            }
            (Self::Size { size, .. } | Self::Space { size }, b' ' | b'\t') => Self::Space { size },
            (Self::Size { size, .. } | Self::Space { size }, b';') => Self::Extension { size },
            (Self::Extension { size }, byte) if byte != b'\n' => Self::Extension { size },
            (Self::SizeEnd { size: 0 }, b'\n') => Self::Line,
            (Self::SizeEnd { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size {
                size: 0,
                has_digits: false,
            },
            (Self::Line, b'\r') => Self::End,
            (Self::Line | Self::Trailer, byte) if !b"\r\n".contains(&byte) => Self::Trailer,
            (Self::Trailer, b'\r') => Self::TrailerEnd,
            (Self::TrailerEnd, b'\n') => Self::Line,
            (Self::End, b'\n') => Self::Over,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Progress) {
        assert_eq!(Chunks::new().advance(body.as_bytes()), expected, "{body:?}");
        // However it is cut.
        let mut chunks = Chunks::new();
        let mut last = Progress::Going;
        for (read, byte) in body.bytes().enumerate() {
            last = match chunks.advance(&[byte]) {
                Progress::Over(here) => Progress::Over(read + here),
                Progress::Broken(here) => Progress::Broken(read + here),
                Progress::Going => Progress::Going,
            };
            if last != Progress::Going {
                break;
            }
        }
        assert_eq!(last, expected, "{body:?}, byte by byte");
    }

    #[test]
    fn a_body_ends_with_its_last_chunk() {
        check("0\r\n\r\n", Progress::Over(5));
        check("5\r\nhello\r\n0\r\n\r\nGET /", Progress::Over(15));
        check("00a\r\n0\r\n\r\n67890\r\n0\r\n\r\n", Progress::Over(22));
        check("1;a=b\r\nx\r\n0;z\r\n\r\n", Progress::Over(17));
        check("1 \t\r\nx\r\n0 ; z\r\n\r\n", Progress::Over(17));
        check("0\r\nA: b\r\nC: d\r\n\r\nx", Progress::Over(17));
        check("5\r\nhel", Progress::Going);
        check("0\r\n\r", Progress::Going);
        check("", Progress::Going);
    }

    #[test]
    fn what_is_no_chunk_is_broken() {
        for (well, broken) in [
            ("", "\r\n"),
            ("", "x\r\n"),
            ("5", "\nhello\n"),
            ("", "-1\r\n"),
            ("", "+5\r\n"),
            ("0", "x5\r\n"),
            ("5 ", "5\r\n"),
            ("5 ", "x\r\n"),
            ("5\r\nhello", "!"),
            ("5\r\nhello", "\n"),
            ("5\r", "\r\n"),
            ("0\r\n", "\n"),
            ("0\r\nA: b", "\n\n"),
            ("1000000000000000", "0\r\n"),
            ("5;a", "\n"),
        ] {
            check(&[well, broken].concat(), Progress::Broken(well.len()));
        }
        for long in [";", " "] {
            let long = format!("1{}\r\nx\r\n0\r\n\r\n", long.repeat(ASIDE_MAX + 1));
            check(&long, Progress::Broken(1 + ASIDE_MAX));
        }
    }
}
