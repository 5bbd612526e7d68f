//! What is counted, and how it is named inside a cluster.

use std::fmt;
use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// The identity of a key inside a cluster: 128 bits of keyed hash over namespace, limit and key.
///
/// Fixed size, so that a cell costs the same whatever its key is called, and safe to log: a customer's key
/// cannot be read back from it without the cluster's secret. Two keys collide by chance once in about
/// 2^64 keys; on purpose, not without the secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash {
    // Two words rather than a `u128`: its alignment of 16 would pad every cell that holds one.
    high: u64,
    low: u64,
}

/// The bits that say that a key is spared. In the key itself, so that every holder knows it, whatever became of the limit, and no
/// message or file has to tell; 96 others are left to tell spared keys apart.
///
/// Not the lowest ten, which choose the shard, nor the highest four, which choose the bucket of a digest.
const SPARED: u64 = 0xffff_ffff << 24;

impl KeyHash {
    /// The key hash with these bits, as read from a peer.
    #[must_use]
    pub const fn new(bits: u128) -> Self {
        Self {
            high: (bits >> 64) as u64,
            low: bits as u64,
        }
    }

    /// All 128 bits.
    #[must_use]
    pub const fn get(self) -> u128 {
        (self.high as u128) << 64 | self.low as u128
    }

    /// This key as one that is [spared](Self::is_spared). Never the same as before, but for one chance in 2^32.
    ///
    /// Every node must agree on which keys are: so do the bits.
    #[must_use]
    pub const fn spared(self) -> Self {
        Self {
            high: self.high,
            low: self.low | SPARED,
        }
    }

    /// Whether this key is kept where others are evicted for want of memory. Of keys that nobody [asked](Self::spared) to
    /// spare, one in 2^32 is, which nobody without the secret can find.
    #[must_use]
    pub const fn is_spared(self) -> bool {
        self.low & SPARED == SPARED
    }

    /// The shard of this key among `shards`, `0..shards`: the low 64 bits modulo `shards`.
    ///
    /// Every node must agree on this, so it is as fixed as the hash. Without any shard, the answer is 0.
    #[must_use]
    pub const fn shard(self, shards: u16) -> u16 {
        if shards == 0 {
            return 0;
        }
        (self.low % shards as u64) as u16
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.high, self.low)
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

/// Hashes keys under a cluster's secret, so that nobody outside can choose keys that meet in one shard.
///
/// SipHash-1-3 with 128 bits of output (Aumasson and Bernstein, "SipHash: a fast short-input PRF"). The message is,
/// for namespace, limit and key in turn, the length in bytes as a little-endian `u64` and then the bytes, so that
/// `("a", "bc")` and `("ab", "c")` differ. The secret is SipHash's key as it stands, two little-endian words. Of the
/// two words that come out, the second is the high half.
///
/// Nodes exchange these hashes: a change here is a change of the peer protocol.
#[derive(Clone, Copy)]
pub struct KeyHasher {
    // Hashing starts from a copy, which saves setting up the key for every hit.
    keyed: SipHasher13,
}

impl KeyHasher {
    /// A hasher under `secret`.
    #[must_use]
    pub fn new(secret: [u8; 16]) -> Self {
        Self {
            keyed: SipHasher13::new_with_key(&secret),
        }
    }

    /// The hash of `key` as counted by `limit` of `namespace`.
    #[must_use]
    pub fn hash(&self, namespace: &str, limit: &str, key: &str) -> KeyHash {
        self.of_limit(namespace, limit).hash(key)
    }

    /// Hashes the keys of `limit` of `namespace`, as [`Self::hash`] does. Worth keeping: of the words of a usual message
    /// half stand before the key's own.
    #[must_use]
    pub fn of_limit(&self, namespace: &str, limit: &str) -> LimitHasher {
        let mut keyed = self.keyed;
        for part in [namespace, limit] {
            write_part(&mut keyed, part);
        }
        LimitHasher { keyed }
    }
}

#[inline]
fn write_part(hasher: &mut SipHasher13, part: &str) {
    // Its bytes are those of a little-endian number on every machine.
    hasher.write_u64((part.len() as u64).to_le());
    hasher.write(part.as_bytes());
}

/// Hashes the keys of one limit: what all of them have in common is hashed already.
#[derive(Clone, Copy)]
pub struct LimitHasher {
    keyed: SipHasher13,
}

impl LimitHasher {
    /// The hash of `key`.
    #[inline]
    #[must_use]
    pub fn hash(&self, key: &str) -> KeyHash {
        let mut hasher = self.keyed;
        write_part(&mut hasher, key);
        let hash = hasher.finish128();
        KeyHash {
            high: hash.h2,
            low: hash.h1,
        }
    }

    /// Whether this hashes under the secret of `hasher`.
    #[inline]
    #[must_use]
    pub fn is_under(&self, hasher: &KeyHasher) -> bool {
        self.keyed.keys() == hasher.keyed.keys()
    }
}

impl fmt::Debug for LimitHasher {
    // The state holds the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LimitHasher(..)")
    }
}

impl fmt::Debug for KeyHasher {
    // The state holds the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHasher(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked out by another implementation of SipHash-1-3-128, itself checked against the vectors of the reference
    /// implementation for 2-4. Peers of other versions depend on these: never change them to make a test pass.
    #[test]
    fn hashes_are_what_every_node_takes_them_for() {
        let secret = std::array::from_fn(|i| i as u8);
        let check = |[namespace, limit, key]: [&str; 3], hash: &str, shard: u16| {
            let actual = KeyHasher::new(secret).hash(namespace, limit, key);
            assert_eq!(
                (actual.to_string().as_str(), actual.shard(1024)),
                (hash, shard)
            );
            assert_eq!(KeyHash::new(actual.get()), actual);
        };
        check(["", "", ""], "466b6b3a36b782a1ca5d5e7549efcca4", 164);
        check(
            ["default", "login", "u1"],
            "0a931a124b60c6156e42dcab7dcf19fb",
            507,
        );
        check(
            ["acme", "user_home", "Zürich"],
            "7ef8b54a640973580111192ce85fd93e",
            318,
        );
    }

    /// The three parts one after another, by the library's own stream.
    fn streamed(secret: [u8; 16], parts: [&str; 3]) -> KeyHash {
        let mut hasher = SipHasher13::new_with_key(&secret);
        for part in parts {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part.as_bytes());
        }
        let hash = hasher.finish128();
        KeyHash {
            high: hash.h2,
            low: hash.h1,
        }
    }

    /// Long and short messages are hashed in two ways, to the same value, wherever a word ends in what all keys of a limit
    /// have in common.
    #[test]
    fn a_long_key_is_hashed_like_a_short_one() {
        for limit in ["", "l", "login", "a limit", "limits!!", &"limit".repeat(60)] {
            for length in 0..400 {
                let key = "k".repeat(length);
                let expected = streamed([7; 16], ["default", limit, &key]);
                let of_limit = KeyHasher::new([7; 16]).of_limit("default", limit);
                assert_eq!(of_limit.hash(&key), expected, "{length} bytes");
            }
        }
    }

    /// They spread over shards and buckets as others do, and stay apart.
    #[test]
    fn a_spared_key_has_its_shard_and_is_told_from_others() {
        let hasher = KeyHasher::new([7; 16]);
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..10_000 {
            let key = hasher.hash("default", "login", &number.to_string());
            assert!(!key.is_spared());
            let spared = key.spared();
            assert!(spared.is_spared());
            assert_eq!(spared.spared(), spared);
            assert_eq!(spared.shard(1024), key.shard(1024));
            assert_eq!(spared.get() as u64 >> 60, key.get() as u64 >> 60);
            assert!(seen.insert(spared));
        }
    }

    #[test]
    fn what_is_hashed_under_another_secret_is_known() {
        let hasher = KeyHasher::new([7; 16]);
        let of_limit = hasher.of_limit("default", "login");
        assert!(of_limit.is_under(&hasher));
        assert!(!of_limit.is_under(&KeyHasher::new([8; 16])));
    }

    #[test]
    fn a_hash_depends_on_where_its_parts_end_and_on_the_secret() {
        let hasher = KeyHasher::new([7; 16]);
        let hash = hasher.hash("a", "bc", "d");
        assert_ne!(hash, hasher.hash("ab", "c", "d"));
        assert_ne!(hash, hasher.hash("a", "b", "cd"));
        assert_ne!(hash, KeyHasher::new([8; 16]).hash("a", "bc", "d"));
    }

    #[test]
    fn debug_output_keeps_the_secret() {
        let hasher = KeyHasher::new([7; 16]);
        let of_limit = hasher.of_limit("default", "login");
        assert_eq!(
            format!("{hasher:?} {of_limit:?}"),
            "KeyHasher(..) LimitHasher(..)"
        );
    }

    #[test]
    fn any_number_of_shards_has_a_shard_for_a_key() {
        let hash = KeyHash::new(u128::MAX);
        assert_eq!([0, 1, 10].map(|shards| hash.shard(shards)), [0, 0, 5]);
    }
}
