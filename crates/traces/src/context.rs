//! By what a span is known to others.

/// What all spans of one trace share. Not zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TraceId(pub(crate) u128);

/// A span within its trace. Not zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SpanId(pub(crate) u64);

impl TraceId {
    /// As it travels, the first byte first.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl SpanId {
    /// As it travels, the first byte first.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

/// The span of a client that a request is a part of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Parent {
    /// Its trace.
    pub trace: TraceId,
    /// The span itself.
    pub span: SpanId,
    /// Whether the client has the trace recorded. We do as it does: a trace without its middle is none.
    pub is_sampled: bool,
}

/// Bytes of a `traceparent` of version 0, and the first ones of any later.
const LENGTH: usize = 55;
/// The flag that says that the trace is recorded.
const SAMPLED: u64 = 1;

impl Parent {
    /// Reads the value of a header `traceparent`, such as `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`. `None`: it
    /// is none, and the trace begins here, as the recommendation says.
    ///
    /// Source: [W3C Trace Context](https://www.w3.org/TR/trace-context/#traceparent-header), 3.2. Of a version after 0 what stands
    /// there for version 0 is read, and the rest left alone.
    #[must_use]
    pub fn parse(traceparent: &str) -> Option<Self> {
        let (head, rest) = traceparent.split_at_checked(LENGTH)?;
        let mut parts = head.split('-');
        let version = hex(parts.next()?, 2)?;
        let trace = hex(parts.next()?, 32)?;
        let span = hex(parts.next()?, 16)?;
        let flags = hex(parts.next()?, 2)?;
        let is_readable = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest.starts_with('-'),
        };
        let is_parent = is_readable && parts.next().is_none() && trace != 0 && span != 0;
        is_parent.then_some(Self {
            trace: TraceId(trace),
            span: SpanId(span as u64),
            is_sampled: flags as u64 & SAMPLED != 0,
        })
    }
}

/// A number of so many digits, in lower case alone.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_hex = text.len() == digits && text.bytes().all(is_digit);
    is_hex
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the recommendation.
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_as_it_is_written() {
        let parent = Parent::parse(PARENT).unwrap();
        assert_eq!(parent.trace.0, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!(parent.trace.to_bytes()[0], 0x0a);
        assert_eq!(parent.span.to_bytes()[7], 0x31);
        assert!(parent.is_sampled);
    }

    #[test]
    fn of_the_flags_the_last_says_whether_the_trace_is_recorded() {
        for (flags, is_sampled) in [
            ("00", false),
            ("01", true),
            ("02", false),
            ("03", true),
            ("ff", true),
        ] {
            let text = format!("{}{flags}", &PARENT[..LENGTH - 2]);
            assert_eq!(Parent::parse(&text).unwrap().is_sampled, is_sampled);
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = |rest: &str| Parent::parse(&format!("01{}{rest}", &PARENT[2..]));
        assert_eq!(later(""), Parent::parse(PARENT));
        assert_eq!(later("-more"), Parent::parse(PARENT));
        assert_eq!(later("more"), None);
    }

    #[test]
    fn what_is_no_traceparent_is_no_parent() {
        for text in [
            "",
            "00",
            &PARENT[1..],
            &format!("{PARENT}-more"),
            &format!("ff{}", &PARENT[2..]),
            &PARENT.to_ascii_uppercase(),
            &PARENT.replace('-', "_"),
            &PARENT.replace("b7", "+7"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            // Not cut inside of a character.
            &format!("{}é", &PARENT[..LENGTH - 1]),
        ] {
            assert_eq!(Parent::parse(text), None, "{text}");
        }
    }
}
