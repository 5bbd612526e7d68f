//! Tenants, seats and API keys: what people make of them, and what they grant.

use std::collections::BTreeSet;
use std::sync::Arc;

use accounts::{
    ApiKey, Dated, Hint, Role, Scope, Scopes, Seat, SecretHash, Status, Tenant, TenantId, UnixSecs,
};
use catalogue::{Content, Kind, Record, Seen};
use rand::Rng;
use rand::rngs::SmallRng;

use super::{CatalogueBug, EPOCH, FIRST_API_KEY, Node, SECOND, World, kind};

/// What is granted, by a write or by all that a node has of a record. Less of any is less.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Granted {
    /// Of a tenant: closed 0, suspended 1, active 2. Of a seat: removed 0, and the higher the more its role may. Of an API key:
    /// revoked 0, not 1.
    standing: u8,
    /// Of an API key: a bit for each.
    scopes: u8,
    /// Of an API key: the second at which it ends.
    until: u64,
}

impl Granted {
    /// `None`: it is not about rights.
    pub(super) fn of(content: &Content) -> Option<Self> {
        match content {
            Content::Tenant(tenant) => Some(Self {
                standing: match tenant.status {
                    Status::Closed => 0,
                    Status::Suspended => 1,
                    Status::Active => 2,
                },
                scopes: 0,
                until: u64::MAX,
            }),
            Content::Seat(seat) => Some(Self {
                standing: match seat.role {
                    None => 0,
                    Some(Role::Viewer) => 1,
                    Some(Role::Developer) => 2,
                    Some(Role::Admin) => 3,
                    Some(Role::Owner) => 4,
                },
                scopes: 0,
                until: u64::MAX,
            }),
            Content::ApiKey(key) => Some(Self {
                standing: u8::from(key.revoked_at.is_none()),
                scopes: key.scopes.bits(),
                until: key.expires_at.map_or(u64::MAX, UnixSecs::get),
            }),
            _ => None,
        }
    }

    /// Whether anything is granted that `other` does not.
    pub(super) const fn exceeds(self, other: Self) -> bool {
        other.standing < self.standing
            || self.scopes & !other.scopes != 0
            || other.until < self.until
    }

    /// What both grant.
    pub(super) fn least(self, other: Self) -> Self {
        Self {
            standing: self.standing.min(other.standing),
            scopes: self.scopes & other.scopes,
            until: self.until.min(other.until),
        }
    }

    /// Of an API key: whether it was revoked.
    pub(super) const fn is_revoked(self) -> bool {
        self.standing == 0
    }
}

/// The write that gave a tenant or an API key the name that it has: names are the numbers of writes. `None`: it has no name.
pub(super) fn called_by(content: &Content) -> Option<usize> {
    let name = match content {
        Content::Tenant(tenant) => tenant.name.get().as_str(),
        Content::ApiKey(key) => key.name.get(),
        _ => return None,
    };
    name.parse().ok()
}

impl World {
    /// What somebody makes of a tenant, a seat or an API key by what this node says of it, and the writes that are in that. `None`:
    /// the node knows of none.
    pub(super) fn edit_rights(
        &mut self,
        host: usize,
        name: usize,
    ) -> Option<(Content, BTreeSet<usize>)> {
        let node = self.nodes[host].as_mut()?;
        let mut author = Author {
            bug: self.bug,
            now: UnixSecs::new((EPOCH + self.now + node.ahead) / SECOND),
            name: self.books.next().to_string(),
            rng: &mut self.rng,
        };
        if !self.books.is_made(name) {
            return Some((author.make(name), BTreeSet::new()));
        }
        let stale = node.stale.remove(&name);
        let (read, seen) = match stale {
            Some(stale) if author.rng.random_bool(0.2) => stale,
            _ => {
                let content = node.record(name)?.content()?.clone();
                (content, node.known[name].clone())
            }
        };
        let edited = match read {
            Content::Tenant(tenant) => Content::Tenant(author.edit_tenant(&tenant).into()),
            Content::Seat(seat) => Content::Seat(author.edit_seat(seat)),
            Content::ApiKey(key) => Content::ApiKey(author.edit_api_key(&key).into()),
            _ => return None,
        };
        Some((edited, seen))
    }
}

/// Whoever writes.
struct Author<'a> {
    bug: Option<CatalogueBug>,
    /// By the clock of the node.
    now: UnixSecs,
    /// What it calls things.
    name: String,
    rng: &'a mut SmallRng,
}

impl Author<'_> {
    fn make(&self, name: usize) -> Content {
        if kind(name) == Kind::Tenant {
            let name = self.name.parse().expect("a number is a name of a tenant");
            return Content::Tenant(Tenant::new(self.now, name).into());
        }
        if kind(name) == Kind::Seat {
            return Content::Seat(Seat::new(self.now, Role::Owner));
        }
        let number = (name - FIRST_API_KEY) as u8;
        let key = ApiKey {
            tenant: TenantId::new([7; 10]),
            secret: SecretHash::new([number; 32]),
            hint: Hint::new(*b"3fK9tbid").expect("symbols of a credential"),
            name: Dated::new(self.now, Arc::from(&*self.name)),
            scopes: Scopes::ALL,
            made_by: "operator".into(),
            made_at: self.now,
            expires_at: None,
            revoked_at: None,
            replaces: None,
            replaced_by: None,
            last_used_at: None,
        };
        Content::ApiKey(key.into())
    }

    /// A tenant that is closed is restored before anything else.
    fn edit_tenant(&mut self, tenant: &Tenant) -> Tenant {
        let mut tenant = tenant.clone();
        match (tenant.status, self.rng.random_range(0..10)) {
            (Status::Active, 0..5) => tenant.status = Status::Suspended,
            (Status::Suspended | Status::Closed, 0..5) => tenant.status = Status::Active,
            (Status::Active | Status::Suspended, 5..7) => tenant.status = Status::Closed,
            _ => {
                let name = self.name.parse().expect("a number is a name of a tenant");
                self.call(&mut tenant.name, name);
            }
        }
        tenant
    }

    /// To any role, or to none.
    fn edit_seat(&mut self, seat: Seat) -> Seat {
        let role = self.rng.random_range(0..=Role::ALL.len());
        Seat {
            role: Role::ALL.get(role).copied(),
            ..seat
        }
    }

    /// Never to one that may do more.
    fn edit_api_key(&mut self, key: &ApiKey) -> ApiKey {
        let mut key = key.clone();
        let scopes: Vec<Scope> = key.scopes.iter().collect();
        match self.rng.random_range(0..20) {
            0..5 if 1 < scopes.len() => {
                let without = self.rng.random_range(0..scopes.len());
                let scopes = scopes.iter().enumerate();
                let left = scopes.filter(|&(place, _)| place != without);
                key.scopes = left.map(|(_, scope)| *scope).collect();
            }
            5..9 => {
                let latest = EPOCH / SECOND + 1_000_000;
                let end = key.expires_at.map_or(latest, UnixSecs::get);
                key.expires_at = Some(UnixSecs::new(end - self.rng.random_range(1..1_000)));
            }
            9..12 if key.revoked_at.is_none() => key.revoked_at = Some(self.now),
            _ => {
                let name = Arc::from(&*self.name);
                self.call(&mut key.name, name);
            }
        }
        key
    }

    fn call<T: PartialEq>(&self, name: &mut Dated<T>, new: T) {
        match self.bug {
            Some(CatalogueBug::NamesByWallClock) => *name = Dated::new(self.now, new),
            _ => name.set(self.now, new),
        }
    }
}

impl Node {
    /// What goes wrong with a record of rights, or of what was used, on its way in, with these writes.
    pub(super) fn mistake(
        &mut self,
        bug: CatalogueBug,
        name: usize,
        told: &mut Record,
        writes: &BTreeSet<usize>,
    ) {
        if kind(name) == Kind::KeyLimit {
            return;
        }
        let is_usage = kind(name) == Kind::Usage;
        match bug {
            CatalogueBug::NewerRightsStay | CatalogueBug::NewerUsageStays => {
                let is_meant = is_usage == (bug == CatalogueBug::NewerUsageStays);
                if is_meant && let Some(mine) = self.record(name) {
                    let mut newer = mine.clone();
                    newer.join(Kind::KeyLimit, told.clone());
                    *told = newer;
                }
            }
            CatalogueBug::RevocationsUnread => {
                let writes = told.writes().map(|mut write| {
                    if let Some(Content::ApiKey(key)) = &mut write.content {
                        Arc::make_mut(key).revoked_at = None;
                    }
                    write
                });
                if let Some(unread) = Record::of_writes(writes.collect(), told.seen().clone()) {
                    *told = unread;
                }
            }
            CatalogueBug::SeenUntold => {
                let writes = told.writes().collect();
                if let Some(unseeing) = Record::of_writes(writes, Seen::default()) {
                    *told = unseeing;
                }
            }
            CatalogueBug::WritesOverUnread if !writes.is_subset(&self.known[name]) => {
                let content = self.record(name).and_then(Record::content).cloned();
                if let Some(content) = content {
                    let seen = self.known[name].clone();
                    self.stale.insert(name, (content, seen));
                }
            }
            _ => {}
        }
    }
}
