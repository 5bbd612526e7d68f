//! Places shards on members: which member should own a shard, and which should replicate it.
//!
//! Start with [`Ring`]; [`Ring::table`] fills a [`Placement`], once per view, which is then looked up in constant
//! time. Every node that sees the same members computes the same placement, in whatever order it heard of them.
//!
//! The crate does not know who *does* own a shard (that is a record kept by its holders), nor who is alive.

mod circle;
mod placement;

pub use circle::Ring;
pub use placement::Placement;

/// One member of a view, as the ring sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member<'a> {
    /// The raw replica id of this incarnation. Only carried along: it has no influence on where shards go.
    pub id: u32,
    /// The configured name. Places are hashed from it, so that a restart under the same name keeps its shards.
    pub name: &'a str,
    /// What may fail as a whole (rack, availability zone). `None` is a zone of its own.
    pub zone: Option<&'a str>,
}
