//! A whole Weir cluster in one thread, from one seed: each strategy with the promises that it makes.
//!
//! # The strategy `owner`
//!
//! Runs the very state machines of the product, [`membership`] and [`shard`], in nodes joined by a
//! network that loses, delays, repeats and reorders, while the world kills, pauses, partitions,
//! restarts and drains them, lets their shards, their membership and their tasks panic, or starts them
//! with clocks that are far off. The oracle checks the promises P1 to P6 over all that is decided and
//! answered. No branch in the product knows of any of it.
//!
//! Each checker has been seen to catch a bug put in on purpose; `--bugs` plays them all again:
//!
//! | bug | caught by | since |
//! | --- | --- | --- |
//! | an owner decides although its lease has run out | P1 | its count meets its successor's, and denies too much |
//! | a takeover opens after the first promise | P1/P2, P2/P3 | an answered hit is forgotten |
//! | a retried hit is counted again | P1 | a hit is denied although there is room |
//! | replicas are not told of hits that their clients had named | P1 | the next owner counts one again that is asked again |
//! | a handoff sends no tail | P1/P2, P2/P3 | answered hits are forgotten |
//! | the common past of a fork is added again | P1 | a hit is denied although there is room |
//! | a restarted node reuses its replica id | convergence, P4 | its old terms and dots are taken for new |
//! | a node that has just joined votes before it has heard a majority | P2/P3 | answered hits are forgotten |
//! | a takeover on the smaller side of a split starts with nothing | P5 | that side alone admits more than the limit |
//! | an owner without a replica decides without anybody's lease | one owner | it wakes from a pause and another has decided |
//! | hits of a node without a quorum wait for one | minority | they wait for as long as a client does |
//! | a node that finds nobody where its cluster should be founds another | founded once | that one lives, cut off |
//! | a newcomer counts as soon as it is met, under `quorum` | P4 | with one of three dead, nobody decides for good |
//! | a node whose clock is off goes on deciding | P1 | it decides by a clock beyond the bound |
//! | a node whose link to an owner is cut asks nobody else | P4 | no answer, although a third node reaches both |
//! | a hit whose owner does not answer is taken for one that was never sent | T1 | it was counted, and its client is told that it was not |
//! | copies travel on the lane of hits | lanes | a hit waits behind them |
//! | a shard in which something panicked goes on with what that left | P1/P2 | answered hits are forgotten |
//! | a replica that a panic left without its copy asks for none | copies | it lacks what its owner has, until the next write |
//! | evidence of death is told again and again | alive | a node that can be reached stays dead |
//! | calendars of every second node know no summer time | P1 | a day ends for some before it does for others |
//! | what was once told of members is told again and again | bounded | those who left are listed and dialled |
//!
//! T1: where a client is told that its hit was not counted, nobody has counted it, and nobody will. T2: only of a hit that
//! left its node, or was decided there, a client is told that this is unknown.
//!
//! What it took to get seeds clean stands with what it changed: `crates/shard/tests/shard/lessons.rs`, the laws of
//! `delta-crdt`, `docs/decisions`. In one of eight worlds some limits are of a day, and a midnight falls into the run next to a
//! change to or from summer time. In one of three links carry 1 MB/s, in all of them with `--narrow`.
//!
//! # The strategy `owner` in a rough world
//!
//! [`rough`] plays it where nobody dies and links lose, flap and part, and settles the books of every client afterwards:
//!
//! | bug | caught by | since |
//! | --- | --- | --- |
//! | the common past of a fork is added again | F1 | more is counted than clients were told |
//! | a retried hit is counted again | F1 | more is counted than clients were told |
//! | holders that are silent are taken for gone | F2 | their state is reported lost, and they are alive |
//! | whoever has promised drops what it holds | F3 | a hit is forgotten of which a client was told that it is counted |
//! | who comes back keeps to itself what it has counted | F4 | the nodes never come to hold the same |
//! | under `quorum`, a claimant that is no holder forgets at once what it has | F3 | the owner had made it a holder, and counted on it |
//! | under `quorum`, who has promised drops what it has told | F3 | the claimant opens without it |
//! | a copy tells the ids of hits whose counts follow it | F3 | a hit that is asked again is answered, and counted nowhere |
//!
//! # The others
//!
//! `local` and [`raft`] state their own promises, and have their own bugs:
//!
//! | bug of `local`, then of `raft` | caught by | since |
//! | --- | --- | --- |
//! | what was lost is never asked for | L3 | nodes answer differently for good |
//! | a node does not listen | L1, L3 | it admits what the others have used up |
//! | a restarted node reuses its replica id | L3 | its dots are taken for ones that are known |
//! | a restarted node reuses its id | R4 | a leader that had counted on its log stops |
//! | what may have been counted is asked again as another hit | R1 | no order explains the answers |
//! | a read is answered from memory | R1 | it is older than an answer given before it was asked |
//! | nodes that start together do not wait for each other | R5 | each forms a group |
//! | a clock that is 10 s ahead is not slewed | R2 | the log's time leaps, and a second admits twice |
//! | a node that died stays a live member | R6 | its vote is never given up, and no majority is left |
//! | who cannot reach one takes all others for dead | R7 | it asks nobody to hand its hits on |
//!
//! # The catalogue
//!
//! What people change at run time has a world of its own, promises C1 to C8, and bugs:
//!
//! | bug of the catalogue | caught by | since |
//! | --- | --- | --- |
//! | a change is answered before others have confirmed it | C1 | another node does not have it |
//! | a receipt is given for what was not taken in | C1 | the same |
//! | what was missed is never asked for | C2 | who was cut off never has it |
//! | a write is stamped by the wall clock alone | C3 | it loses to what its node had seen |
//! | a newcomer is ready before it has what the others have | C4 | it lacks an answered change |
//! | others are told of what is set, not of what is removed | C5 | it is there for good on the others |
//! | of rights the newer write stays, too | C6 | whoever did not know that a tenant was suspended makes it active |
//! | a record is told without the writes that it has seen | C3 | a tenant that was resumed stays suspended |
//! | a name is as old as the wall clock says | C3 | it loses to the name that it replaced |
//! | an API key that is renamed is valid again | C7 | it was revoked on that node |
//! | a write takes the place of one that came after its author had read | C6 | what that forbade is allowed |

//!
//! # Counts that outlive all nodes
//!
//! Nodes with disks, all of which are stopped or killed and started again: promises K1 to K7, and bugs:
//!
//! | bug of kept counts | caught by | since |
//! | --- | --- | --- |
//! | a node that stops does not write what has changed last | K1 | an answered hit is forgotten |
//! | what has changed is written every five seconds | K2 | a hit is forgotten that was answered long before the kill |
//! | the common past is added again when disks differ | K3 | more is counted than clients were told |
//! | what a node has as a copy is not written | K4 | with one disk lost, answered hits are forgotten |
//! | a node that remembers others founds a cluster without them | K5 | it has not waited |
//! | under `quorum`, a minority founds a cluster after a while | K5 | there is no majority |
//! | a reset is not written | K6 | it comes undone |
//! | a disk that is full takes a write without a word | K1, K2 | an answered hit is forgotten |
//! | what changes while a log is written anew is not in the new one | K1, K2 | the same |
//! | under `quorum`, who has yet to hear what a majority knows is not asked for what is on its disk | K1 | it stopped last, and counted alone |
//! | under `quorum`, what is on disks is not asked for | any | who has more than the owner is never told that it is known |
//! | what a node took back is told to nobody | K7 | nodes never come to hold the same |

mod bug;
mod catalogue;
mod events;
mod kept;
mod lanes;
mod links;
mod local;
mod network;
mod node;
mod oracle;
mod played;
pub mod raft;
pub mod rough;
mod scenario;
mod workload;
mod world;

pub use self::catalogue::{CatalogueBug, CatalogueReport, run_catalogue};
pub use bug::Bug;
pub use kept::{KeptBug, KeptReport, run_kept};
pub use links::Links;
pub use local::{LocalBug, LocalReport, run_local};
pub use oracle::{SimTime, Violation};
pub use played::{AnyBug, Outcome, Played, play_kept, play_owner, play_rough};
pub use raft::{RaftBug, RaftReport, is_repeatable, run_raft};
pub use rough::{RoughBug, RoughReport, run_rough};
pub use scenario::{NARROW, Report, Scenario};
pub use world::run;
