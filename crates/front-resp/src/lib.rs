//! The Redis protocol front: turns commands into hits, and decisions into replies.
//!
//! Give [`serve`] a listener and a [`Limiter`](limiter::Limiter). Everything that Redis clients see is here: RESP2 and RESP3, `AUTH` and
//! `HELLO`, the commands, and what bad input gets. This crate does not know how a decision comes about, or where.
//!
//! Inside, the crate's `Conversation` is all that is said on one connection, without the connection.
//!
//! # Commands
//!
//! | command | replies |
//! | --- | --- |
//! | `CL.THROTTLE key max_burst count period [quantity]` | redis-cell's five integers: 0 allowed or 1 limited; `max_burst` + 1; remaining; retry after in s, rounded up, −1 if allowed or if it never fits; reset after in s, rounded up. A quantity of 0 peeks: it is allowed, as there |
//! | `THROTTLE key max_burst count period [quantity]` | throttlecrab's: 1 allowed or 0; `max_burst`; remaining; reset after; retry after, 0 if allowed, −1 if it never fits. Seconds are cut off. Reset after is the wait until the key is full, without the tolerance that throttlecrab adds |
//! | `WEIR.CHECK limit key [cost]` | six: allowed 1 or 0, limit, remaining, retry after in ms (−1: none, −2: never), reset after in ms, 1 if the fail mode answered. A cost of 0 peeks: allowed says whether 1 would pass |
//! | `WEIR.REFUND limit key [cost]` | as `WEIR.CHECK`, the state after, like that of a peek |
//! | `WEIR.RESET limit key` | `+OK` |
//! | `PING` `ECHO` `HELLO` `AUTH` `CLIENT` `COMMAND` `SELECT` `QUIT` `CONFIG` `INFO` `RESET` `TIME` | what clients need of them |
//!
//! `CL.THROTTLE` counts by `gcra` with a burst of `max_burst` + 1, `THROTTLE` with one of `max_burst`, under the rule and the
//! key, as a rule given inline over HTTP does. Names of commands are read in any case. Keys are 1 to 1 024 bytes of UTF-8
//! without NUL.
//!
//! Replies come in the order of the commands, those of a pipeline in one write; hits that stand one behind the other are
//! asked together.
//!
//! # What bad input gets
//!
//! Nothing is counted of any of these, and whatever came before is answered first. `…` is cut to 100 characters.
//!
//! | input | reply |
//! | --- | --- |
//! | another name | `-ERR unknown command '…'` |
//! | fewer or more arguments | `-ERR wrong number of arguments for 'cl.throttle' command` |
//! | a number out of its range, with a sign, a fraction or zeros in front | `-ERR invalid period: must be a whole number from 1 to 31622400` |
//! | a burst that takes over 100 years to come back | `-ERR invalid max_burst: must be at most …, so that it is back within 100 years` |
//! | a key that is empty, longer than 1 024 bytes, or has a NUL | `-ERR invalid key: must be 1 to 1024 bytes of text without NUL` |
//! | a key that is not UTF-8 | `-ERR invalid key: must be UTF-8` |
//! | a limit that is neither the file's nor made at run time | `-UNKNOWNLIMIT no limit has this name: '…'` |
//! | anything but `AUTH`, `HELLO`, `QUIT`, `RESET` before the token was proven | `-NOAUTH Authentication required.` |
//! | a wrong token | `-WRONGPASS invalid username-password pair or user is disabled.` |
//! | an API key of a tenant that is suspended; that this node cannot tell to be in force now | `-ERR this tenant is suspended; nothing was counted`; `-NODECISION …` |
//! | what the API key has no scope for | `-NOPERM this API key does not have the scope that this needs` |
//! | more of a tenant than its plan lets, a day or a second | `-QUOTA …` |
//! | `HELLO 4` | `-NOPROTO unsupported protocol version` |
//! | an array of more than 1 024, or whose length is no number; a line of more than 1 024 words | `-ERR Protocol error: invalid multibulk length`, closed |
//! | a bulk string over 64 KiB, below zero, or whose length is no number | `-ERR Protocol error: invalid bulk length`, closed |
//! | anything but bulk strings in an array | `-ERR Protocol error: expected '$', got ':'`, closed |
//! | a bulk string that is longer than it says | `-ERR Protocol error: expected CRLF after a bulk string`, closed |
//! | bulk strings of more than 128 KiB together | `-ERR Protocol error: too big request, a command has at most 131072 bytes`, closed |
//! | a line of more than 64 KiB | `-ERR Protocol error: too big inline request`, closed |
//! | the first line of an HTTP request, or its `Host:` | `-ERR Protocol error: this is not an HTTP server`, closed |
//! | an empty line, an empty array | nothing, as Redis does |
//! | half a command, and then nothing for a minute | closed |
//! | replies that are not taken for a minute | closed; nothing more is read meanwhile |
//! | commands above 8 KiB while all memory for such is taken | `-ERR requests and answers in flight take all the memory that they may; nothing was counted`, closed |
//! | a connection while 20 000, or what the process may open, are busy | `-ERR max number of clients reached`, closed |
//!
//! A command of words in a line, as people type it, is read, too; quotes are none.
//!
//! # When there is no decision
//!
//! | when | reply |
//! | --- | --- |
//! | the node joins, or nobody that may decide is reached, and the limit fails closed | `-NODECISION no node could decide this hit, and it was not counted` |
//! | the node joins, and the limit is not the file's: the others may have it | `-NODECISION this node is still joining its cluster; nothing was counted or changed` |
//! | the node that decides was asked and did not answer | `-NODECISION the deciding node did not answer, and it is unknown whether this hit was counted` |
//! | too many hits wait | `-NODECISION too many hits are waiting, and this one was not counted` |
//! | the node drains and has closed its coordinator | `-NODECISION this node is draining, and the hit was not counted` |
//! | any of these, and the limit fails open | allowed; the sixth integer of `WEIR.CHECK` is 1 |
//!
//! A node that drains answers all that has arrived, and then closes; connections without a command on its way are closed
//! 250 ms after it began.

mod answer;
mod command;
mod connection;
mod conversation;
mod decode;
mod documentation;
mod exchange;
mod reply;
mod serve;
mod session;

pub use decode::{ARGUMENTS_MAX, Arguments, BULK_MAX, COMMAND_MAX, Decoder, ProtocolError};
pub use serve::{RespConfig, serve};
