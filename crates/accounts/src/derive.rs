//! Secrets that every node of a cluster derives for itself from the cookie that all of them have.

use hkdf::Hkdf;
use sha2::Sha256;

/// `N` bytes for the use that `label` names, by HKDF-SHA256 ([RFC 5869](https://www.rfc-editor.org/rfc/rfc5869)) without
/// salt. Those of one label tell nothing about those of another, or about the cookie.
pub(crate) fn derive<const N: usize>(cookie: &[u8], label: &str) -> [u8; N] {
    const { assert!(N <= 255 * 32) };
    let mut bytes = [0; N];
    Hkdf::<Sha256>::new(None, cookie)
        .expand(label.as_bytes(), &mut bytes)
        .expect("so many bytes can be derived");
    bytes
}

/// What others may call the cluster that has this cookie, such as `3f9a01c25b7d6e84`: the same on every node, and it tells nothing
/// about the cookie.
#[must_use]
pub fn cluster_name(cookie: &[u8]) -> String {
    let bytes = derive::<8>(cookie, "weir cluster name 1");
    format!("{:016x}", u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cookie_has_a_name_of_its_own() {
        let name = cluster_name(b"wojtyra");
        assert_eq!(name.len(), 16);
        assert_eq!(cluster_name(b"wojtyra"), name);
        assert_ne!(cluster_name(b"wojtyrb"), name);
    }
}
