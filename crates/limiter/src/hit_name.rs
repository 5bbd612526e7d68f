//! What a client calls a hit that it may ask again.

use coordinator::Policy;

use crate::{Given, Refusal};

/// What a client calls a hit, so that it counts once however often it is asked: 1 to 128 visible characters of ASCII.
///
/// Two hits on one key are different by their names alone. Hits on two keys, or of two costs, may share one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HitName<'a> {
    name: &'a str,
    field: &'static str,
}

impl<'a> HitName<'a> {
    /// Longest name, in bytes. A UUID has 36.
    pub const BYTES_MAX: usize = 128;
    /// What [`new`](Self::new) takes.
    pub const ACCEPTED: &'static str = "1 to 128 visible characters of ASCII";

    /// A name as the bytes that were given in `field`.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidRequest`](crate::Kind::InvalidRequest) for what is none.
    pub fn new(name: &'a [u8], field: &'static str) -> Result<Self, Refusal> {
        let is_name = (1..=Self::BYTES_MAX).contains(&name.len());
        match std::str::from_utf8(name) {
            Ok(name) if is_name && name.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(Self { name, field })
            }
            _ => Err(Refusal::field(field, Given::lossy(name), Self::ACCEPTED)),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.name
    }

    /// Refuses a limit whose strategy would count a hit of this name again, before it counts any.
    pub(crate) fn check(&self, policy: &Policy) -> Result<(), Refusal> {
        if policy.strategy.remembers_ids() {
            return Ok(());
        }
        let strategy = policy.strategy.name();
        let detail = format!(
            "this limit is counted by the strategy {strategy}, which remembers no names of hits and would count one again; \
             it was not counted"
        );
        let refusal = Refusal::invalid(detail).at(self.field);
        Err(refusal
            .with_given(self.name)
            .with_accepted("a hit without a name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_visible() {
        let longest = "x".repeat(HitName::BYTES_MAX);
        for name in [
            "1",
            "0190a5d1-7e4c-7a3e-9b1f-2f4f6e8d0c1b",
            "a:b/c=",
            &longest,
        ] {
            let named = HitName::new(name.as_bytes(), "Weir-Hit-Id").unwrap();
            assert_eq!(named.as_str(), name);
        }
        let too_long = "x".repeat(HitName::BYTES_MAX + 1);
        for name in ["", "a b", "a\tb", "\u{e4}", &too_long] {
            let refused = HitName::new(name.as_bytes(), "Weir-Hit-Id").unwrap_err();
            assert_eq!(refused.at_field(), Some("Weir-Hit-Id"), "{name}");
            assert_eq!(refused.accepted(), Some(HitName::ACCEPTED));
        }
        assert!(HitName::new(&[0xff], "Weir-Hit-Id").is_err());
    }
}
