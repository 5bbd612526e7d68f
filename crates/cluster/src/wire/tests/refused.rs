//! Bytes that no node sends.

use super::super::*;
use super::bytes_of;

#[test]
fn what_is_refused() {
    let malformed = |what| Err(WireError::Malformed { what });
    let out_of_bounds = |what| Err(WireError::OutOfBounds { what });
    let cases = [
        ("", malformed("version")),
        ("01", malformed("kind")),
        ("0110", malformed("kind")),
        ("010d", out_of_bounds("number of hits")),
        ("010e 01 01", out_of_bounds("number of hits")),
        ("0109 00", malformed("digest")),
        ("010a 00 01", malformed("buckets")),
        ("010b", malformed("call")),
        ("0106", malformed("boot clock")),
        ("0107 ac02", malformed("wall clock")),
        ("0303", Err(WireError::Version { given: 3 })),
        ("0003", Err(WireError::Version { given: 0 })),
        ("0101 01 ac02 01 00", malformed("end")),
        ("0101 03", malformed("membership message")),
        ("0102 8008 0b 0102", out_of_bounds("shard")),
        ("0102 00 0d 0102", malformed("shard message")),
        // A copy in pieces and a pull by number in the version before; a pull without one in this version.
        (
            "0102 00 10 0102 0102 00 00 04 01 00 01 03 00 00",
            malformed("shard message"),
        ),
        ("0102 00 0f 0102 03 01", malformed("shard message")),
        ("0202 00 08 0102 03", malformed("shard message")),
        // Lists that say they are longer than any frame: nothing is reserved for them.
        (
            "0102 00 09 0102 03 ffffffffffffffffff01",
            malformed("cells"),
        ),
        (
            "0102 00 09 0102 03 00 ffffffffffffffffff01",
            malformed("admitted hits"),
        ),
        (
            "0102 00 04 0102 00 ffffffffffffffffff01",
            malformed("shard message"),
        ),
        (
            "0103 01 00 000102030405060708090a0b0c0d0e0f 01 00 00 64 e807 64 02",
            out_of_bounds("limit number"),
        ),
        // No units; a burst for a log; a period of none.
        (
            "0103 01 00 000102030405060708090a0b0c0d0e0f 00 00 00 00 01 01 02",
            out_of_bounds("limit"),
        ),
        (
            "0103 01 00 000102030405060708090a0b0c0d0e0f 00 01 00 05 01 06 02",
            out_of_bounds("limit"),
        ),
        (
            "0103 01 00 000102030405060708090a0b0c0d0e0f 00 00 00 05 00 05 02",
            out_of_bounds("limit"),
        ),
        ("0104 01 06", malformed("verdict")),
        ("0104 01 09", malformed("verdict")),
        ("0104 80808080808080808002 05", malformed("sequence")),
        ("0104 01 04 8080808010", out_of_bounds("owner")),
        ("0105", malformed("kind")),
    ];
    for (bytes, expected) in cases {
        assert_eq!(decode(&bytes_of(bytes)), expected, "{bytes}");
    }
}

#[test]
fn cells_that_cannot_be_are_refused() {
    let cases = [
        ("00", "cell"),
        ("01  00 ac02 05 05 07  01 01020308 00", "count"),
        ("01  02 ac02 05 00     01 01020308 00", "count"),
        ("01  04 00 00          01 01020308 00", "count"),
        ("01  05 ac02           00 00", "version"),
        ("01  05 ac02           01 01020008 00", "version"),
        ("01  05 ac02           02 01020308 01020408 00", "version"),
    ];
    for (cell, what) in cases {
        // Zeros behind, so that no list is too long for what follows.
        let frame = format!("0102 00 09 0102 03 01 {:032} {cell} {:032}", 0, 0);
        assert_eq!(
            decode(&bytes_of(&frame)),
            Err(WireError::OutOfBounds { what }),
            "{cell}"
        );
    }
}
