//! What a node says about its cluster.

use std::collections::BTreeMap;

use serde_json::Value;

/// Shards of every cluster.
pub const SHARDS: u64 = 1_024;

/// What a node says about its cluster: the answer to `GET /v1/cluster`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// Digest of who lives.
    pub digest: String,
    /// By name.
    pub members: BTreeMap<String, MemberView>,
    /// Shards with fewer copies than configured.
    pub under_replicated: u64,
    /// Shards whose copies are still on their way to the nodes that there are.
    pub unsettled: u64,
}

/// What a node says about a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberView {
    /// `alive`, `suspect`, `leaving` or `dead`.
    pub status: String,
    /// Grows with every start under this name.
    pub incarnation: u64,
    /// Shards that it owns.
    pub shards: u64,
}

impl View {
    /// Reads the answer. `None`: no node says that.
    #[must_use]
    pub fn read(json: &Value) -> Option<Self> {
        let member = |member: &Value| {
            let view = MemberView {
                status: member["status"].as_str()?.to_owned(),
                incarnation: member["incarnation"].as_u64()?,
                shards: member["shards"].as_u64()?,
            };
            Some((member["name"].as_str()?.to_owned(), view))
        };
        let members = json["members"].as_array()?.iter();
        Some(Self {
            digest: json["view"].as_str()?.to_owned(),
            members: members.map(member).collect::<Option<_>>()?,
            under_replicated: json["under_replicated_shards"].as_u64()?,
            unsettled: json["unsettled_shards"].as_u64()?,
        })
    }

    /// Those that are not known to be dead.
    pub fn living(&self) -> impl Iterator<Item = &MemberView> {
        let members = self.members.values();
        members.filter(|member| member.status != "dead")
    }

    /// Whether every shard has an owner, and its copies where they belong.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let owned = self.members.values().map(|member| member.shards);
        self.unsettled == 0 && owned.sum::<u64>() == SHARDS
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_view_is_settled_when_every_shard_has_its_owner_and_copies() {
        let told = |unsettled, shards| {
            json!({
                "node": "a", "view": "9f3c", "under_replicated_shards": 0, "unsettled_shards": unsettled,
                "members": [
                    {"name": "a", "status": "alive", "incarnation": 3, "shards": shards},
                    {"name": "b", "status": "dead", "incarnation": 1, "shards": 0},
                ],
            })
        };
        let settled =
            |unsettled, shards| View::read(&told(unsettled, shards)).unwrap().is_settled();
        assert!(settled(0, 1_024) && !settled(1, 1_024) && !settled(0, 1_023));
        let view = View::read(&told(0, 1_024)).unwrap();
        assert_eq!((view.members.len(), view.living().count()), (2, 1));
        assert_eq!(View::read(&json!({"members": []})), None);
    }
}
