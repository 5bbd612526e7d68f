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
