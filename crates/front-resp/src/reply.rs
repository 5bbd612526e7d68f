//! Replies, as clients read them.

use bytes::{BufMut as _, BytesMut};

/// What a client understands. Arrays of numbers, text and errors are the same in both.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Version {
    /// RESP2: what a connection begins with.
    #[default]
    Two,
    /// RESP3: with maps, sets and a null of its own.
    Three,
}

impl Version {
    /// Its number.
    pub(crate) const fn number(self) -> i64 {
        match self {
            Self::Two => 2,
            Self::Three => 3,
        }
    }
}

/// Writes one reply behind those that are there.
pub(crate) struct Reply<'o> {
    out: &'o mut BytesMut,
    version: Version,
}

impl<'o> Reply<'o> {
    /// The next reply in `out`.
    pub(crate) fn new(out: &'o mut BytesMut, version: Version) -> Self {
        Self { out, version }
    }

    /// A word: no line break in it.
    pub(crate) fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error: its code in capitals, then what it says. What would end its line early is replaced.
    pub(crate) fn error(&mut self, code: &str, text: &str) {
        self.out.put_u8(b'-');
        self.out.put_slice(code.as_bytes());
        self.out.put_u8(b' ');
        let begin = self.out.len();
        self.out.put_slice(text.as_bytes());
        for byte in &mut self.out[begin..] {
            if byte.is_ascii_control() {
                *byte = b' ';
            }
        }
        self.out.put_slice(b"\r\n");
    }

    /// A whole number.
    #[inline]
    pub(crate) fn integer(&mut self, number: i64) {
        self.line(b':', itoa::Buffer::new().format(number).as_bytes());
    }

    /// Any bytes.
    pub(crate) fn bulk(&mut self, bytes: &[u8]) {
        self.length(b'$', bytes.len());
        self.out.put_slice(bytes);
        self.out.put_slice(b"\r\n");
    }

    /// Nothing, where there could be something.
    pub(crate) fn null(&mut self) {
        self.out.put_slice(match self.version {
            Version::Two => b"$-1\r\n",
            Version::Three => b"_\r\n",
        });
    }

    /// So many replies follow that belong together.
    #[inline]
    pub(crate) fn array(&mut self, replies: usize) {
        self.length(b'*', replies);
    }

    /// So many pairs of replies follow: names, and what belongs to them.
    pub(crate) fn map(&mut self, pairs: usize) {
        match self.version {
            Version::Two => self.array(2 * pairs),
            Version::Three => self.length(b'%', pairs),
        }
    }

    #[inline]
    fn length(&mut self, kind: u8, length: usize) {
        self.line(kind, itoa::Buffer::new().format(length).as_bytes());
    }

    #[inline]
    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.reserve(text.len() + 3);
        self.out.put_u8(kind);
        self.out.put_slice(text);
        self.out.put_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(version: Version, write: impl Fn(&mut Reply<'_>)) -> String {
        let mut out = BytesMut::new();
        write(&mut Reply::new(&mut out, version));
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn replies_are_written_in_the_version_that_was_asked_for() {
        type Write = fn(&mut Reply<'_>);
        let cases: [(Write, &str, &str); 8] = [
            (|reply| reply.simple("OK"), "+OK\r\n", "+OK\r\n"),
            (
                |reply| reply.integer(i64::MIN),
                ":-9223372036854775808\r\n",
                ":-9223372036854775808\r\n",
            ),
            (
                |reply| reply.bulk(b"a\r\nb"),
                "$4\r\na\r\nb\r\n",
                "$4\r\na\r\nb\r\n",
            ),
            (|reply| reply.bulk(b""), "$0\r\n\r\n", "$0\r\n\r\n"),
            (|reply| reply.null(), "$-1\r\n", "_\r\n"),
            (|reply| reply.array(5), "*5\r\n", "*5\r\n"),
            (|reply| reply.map(2), "*4\r\n", "%2\r\n"),
            (
                |reply| reply.error("ERR", "no"),
                "-ERR no\r\n",
                "-ERR no\r\n",
            ),
        ];
        for (write, two, three) in cases {
            assert_eq!(written(Version::Two, write), two);
            assert_eq!(written(Version::Three, write), three);
        }
    }

    #[test]
    fn an_error_is_one_line_whatever_is_in_it() {
        let error = written(Version::Two, |reply| reply.error("ERR", "a\r\n+OK\r\n\0€"));
        assert_eq!(error, "-ERR a  +OK   €\r\n");
    }
}
