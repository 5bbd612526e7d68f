//! What names tenants, users, invitations and sessions: a prefix and 80 random bits.

use std::fmt;
use std::str::FromStr;

/// Crockford's base 32 in lower case: no `i`, `l`, `o`, `u`, which are read as something else.
pub(crate) const SYMBOLS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Symbols behind the prefix, of 5 bits each.
const LENGTH: usize = 16;

/// The random bits of an id.
pub(crate) type Bits = [u8; 10];

/// The 5 bits that a symbol stands for. `None`: it is none, as are capitals.
pub(crate) fn symbol_value(byte: u8) -> Option<u8> {
    let at = SYMBOLS.iter().position(|symbol| *symbol == byte)?;
    u8::try_from(at).ok()
}

/// Not an id of this kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not an id such as {0}0123456789abcdef")]
pub struct IdError(&'static str);

fn format(prefix: &str, bits: Bits, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(prefix)?;
    let number = bits
        .iter()
        .fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    for place in (0..LENGTH).rev() {
        let symbol = SYMBOLS[(number >> (5 * place)) as usize % SYMBOLS.len()];
        fmt::Write::write_char(f, symbol.into())?;
    }
    Ok(())
}

fn parse(prefix: &'static str, text: &str) -> Result<Bits, IdError> {
    let error = IdError(prefix);
    let symbols = text.strip_prefix(prefix).ok_or(error)?;
    if symbols.len() != LENGTH {
        return Err(error);
    }
    let mut number = 0_u128;
    for byte in symbols.bytes() {
        let value = symbol_value(byte).ok_or(error)?;
        number = number << 5 | u128::from(value);
    }
    let bytes = number.to_be_bytes();
    Ok(*bytes.last_chunk().expect("a number of 16 bytes has 10"))
}

/// Defines the type of ids with a prefix.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Bits);

        impl $name {
            #[doc = concat!("What every one begins with: `", $prefix, "`.")]
            pub const PREFIX: &str = $prefix;

            /// The one with these random bits.
            #[must_use]
            pub const fn new(random: [u8; 10]) -> Self {
                Self(random)
            }

            /// Its random bits.
            #[must_use]
            pub const fn to_bytes(self) -> [u8; 10] {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                format($prefix, self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse($prefix, text).map(Self)
            }
        }
    };
}

id!(
    /// Names a tenant, and is the namespace of what it counts. Never changes.
    TenantId,
    "tn_"
);

id!(
    /// Names a user. Never changes.
    UserId,
    "us_"
);

id!(
    /// Names an invitation. No secret.
    InviteId,
    "inv_"
);

id!(
    /// Names a session. No secret.
    SessionId,
    "ses_"
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_is_read_as_it_is_told(bits: [u8; 10]) {
            let id = TenantId::new(bits);
            let text = id.to_string();
            prop_assert_eq!(text.len(), 3 + LENGTH);
            prop_assert_eq!(text.parse(), Ok(id));
            prop_assert_eq!(id.to_bytes(), bits);
        }

        #[test]
        fn an_id_of_one_kind_is_none_of_another(bits: [u8; 10]) {
            let texts = [
                TenantId::new(bits).to_string(),
                UserId::new(bits).to_string(),
                InviteId::new(bits).to_string(),
                SessionId::new(bits).to_string(),
            ];
            for (of, text) in texts.iter().enumerate() {
                let kinds = [
                    text.parse::<TenantId>().is_ok(),
                    text.parse::<UserId>().is_ok(),
                    text.parse::<InviteId>().is_ok(),
                    text.parse::<SessionId>().is_ok(),
                ];
                prop_assert_eq!(kinds, std::array::from_fn(|kind| kind == of));
            }
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        assert_eq!(TenantId::new([0; 10]).to_string(), "tn_0000000000000000");
        assert_eq!(TenantId::new([255; 10]).to_string(), "tn_zzzzzzzzzzzzzzzz");
        for text in [
            "",
            "tn_",
            "us_0000000000000000",
            "tn_000000000000000",
            "tn_00000000000000000",
            "tn_000000000000000i",
            "tn_000000000000000A",
            "tn_00000000000000€",
        ] {
            assert!(text.parse::<TenantId>().is_err(), "{text}");
        }
    }
}
