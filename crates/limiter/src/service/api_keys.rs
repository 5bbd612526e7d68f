//! The API keys of a tenant.

use std::sync::Arc;

use accounts::{
    ApiKey, ApiKeyId, ApiKeyState, Credential, Dated, NAME_ACCEPTED, Scope, Scopes, TenantId,
    UnixSecs,
};
use catalogue::{Changed, Content, Kind as Record, SERVICE};

use super::{Caller, Change};
use crate::{Given, Kind, Limiter, Node, Refusal};

/// An API key that was made: its credential is shown now and never again.
#[derive(Debug)]
pub struct NewApiKey {
    /// To be shown once.
    pub credential: Credential,
    /// What is known of it.
    pub key: Arc<ApiKey>,
    /// Who has not confirmed it.
    pub changed: Changed,
}

/// What is to be changed of an API key. The default changes nothing.
#[derive(Clone, Default, Debug)]
pub struct ApiKeyChange {
    /// Another name.
    pub name: Option<String>,
    /// Fewer scopes.
    pub scopes: Option<Scopes>,
    /// An earlier end.
    pub expires_at: Option<UnixSecs>,
}

/// An API key that takes the place of another.
#[derive(Debug)]
pub struct Rotated {
    /// The new one.
    pub new: NewApiKey,
    /// When the old one ends.
    pub old_expires_at: UnixSecs,
}

/// The longest that an API key may live, in seconds: ten years, three of them leap years.
const LIFE_MAX: u64 = 3_653 * 24 * 60 * 60;
/// The longest that the old one may live beside the new one, in seconds.
pub const OVERLAP_MAX: u64 = 30 * 24 * 60 * 60;

/// What an API key may expire at.
pub const EXPIRES_ACCEPTED: &str = "a time from now to 10 years ahead, or null";
/// How long the old one may live beside the new one.
pub const OVERLAP_ACCEPTED: &str = "0s to 30d";

impl<N: Node> Limiter<N> {
    /// Whose an API key is. `None`: there is none of this id.
    #[must_use]
    pub fn tenant_of_api_key(&self, id: &str) -> Option<TenantId> {
        let id: ApiKeyId = id.parse().ok()?;
        let record = self.node().record(Record::ApiKey, SERVICE, &id.to_string());
        Some(record?.api_key()?.tenant)
    }
}

impl<N: Node> Caller<N> {
    /// Up to `count` API keys of the tenant, after the one of this id in an order of their own.
    #[must_use]
    pub fn api_keys(&self, after: Option<&str>, count: usize) -> Vec<(ApiKeyId, Arc<ApiKey>)> {
        let (node, tenant) = (self.limiter.node(), self.limiter.namespace());
        let records = node.records(Record::ApiKey, tenant, after, count);
        let keys = records.into_iter();
        let keys = keys.filter_map(|(id, content)| {
            let key = content.api_key()?.clone();
            Some((id.parse().ok()?, key))
        });
        keys.collect()
    }

    /// An API key of the tenant.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`], also for one of another tenant.
    pub fn api_key(&self, id: &str) -> Result<(ApiKeyId, Arc<ApiKey>), Refusal> {
        let id: ApiKeyId = id.parse().map_err(|_| no_key())?;
        let record = self
            .limiter
            .node()
            .record(Record::ApiKey, SERVICE, &id.to_string());
        let key = record.as_ref().and_then(Content::api_key).cloned();
        let is_ours = |key: &Arc<ApiKey>| key.tenant.to_string() == self.limiter.namespace();
        key.filter(is_ours).map(|key| (id, key)).ok_or_else(no_key)
    }

    /// Makes an API key of the tenant.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidRequest`]; [`Kind::Forbidden`] for more than the caller may; [`Kind::PlanLimit`]; and when it could
    /// not be kept. Nothing was changed then.
    pub async fn make_api_key(
        &self,
        name: &str,
        scopes: Scopes,
        expires_at: Option<UnixSecs>,
    ) -> Result<NewApiKey, Refusal> {
        let now = super::now();
        check_name(name)?;
        self.check_scopes(scopes)?;
        check_expiry(now, expires_at)?;
        self.check_room(now)?;
        let key = self.new_key(now, name, scopes, expires_at, None)?;
        let new = self.keep_new(key).await?;
        let id = new.credential.id().to_string();
        let after = audited(&new.key);
        let change = Change::new("api-key.make", &id).from_to(None, &*after);
        self.note(change).await;
        Ok(new)
    }

    /// Changes an API key to one that may do less, or calls it otherwise.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`], [`Kind::InvalidRequest`], [`Kind::Forbidden`] for more than it may, and when it could not be kept.
    /// Nothing was changed then.
    pub async fn change_api_key(
        &self,
        id: &str,
        change: ApiKeyChange,
    ) -> Result<(ApiKeyId, Arc<ApiKey>, Changed), Refusal> {
        let now = super::now();
        let (id, known) = self.api_key(id)?;
        self.check_scopes(known.scopes)?;
        let edit = |key: &mut ApiKey| {
            if let Some(name) = change.name {
                check_name(&name)?;
                key.name.set(now, name.into());
            }
            if let Some(scopes) = change.scopes {
                self.check_scopes(scopes)?;
                if !scopes.are_within(key.scopes) {
                    return Err(wider("scopes", "those that it has, or fewer"));
                }
                key.scopes = scopes;
            }
            if let Some(at) = change.expires_at {
                // Never is the latest of all: what is longer than any may live is, above all, longer than this one does.
                if key.expires_at.is_some_and(|known| known < at) {
                    return Err(wider("expires_at", "no later than it expires already"));
                }
                check_expiry(now, Some(at))?;
                key.expires_at = Some(at);
            }
            Ok(())
        };
        let (key, changed) = self.edit_key(id, edit).await?;
        let (target, before, after) = (id.to_string(), audited(&known), audited(&key));
        let change = Change::new("api-key.change", &target).from_to(&*before, &*after);
        self.note(change).await;
        Ok((id, key, changed))
    }

    /// Makes an API key in the place of another, which lives `overlap` seconds longer at most.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`]; [`Kind::InvalidRequest`]; [`Kind::Forbidden`] for one that may more than the caller;
    /// [`Kind::Conflict`] for one that was revoked, has expired or was replaced; and when it could not be kept.
    pub async fn rotate_api_key(&self, id: &str, overlap: u64) -> Result<Rotated, Refusal> {
        let now = super::now();
        let (id, known) = self.api_key(id)?;
        if OVERLAP_MAX < overlap {
            let given = Given::Literal(format!("\"{overlap}s\""));
            return Err(Refusal::field("overlap", given, OVERLAP_ACCEPTED));
        }
        self.check_scopes(known.scopes)?;
        check_in_use(&known, now)?;
        // What it replaced ends at once: of one API key two at most are in use.
        if let Some(before) = known.replaces
            && let Ok((before, key)) = self.api_key(&before.to_string())
            && key.state(now) == ApiKeyState::Valid
        {
            self.edit_key(before, |key| {
                key.expires_at = Some(key.expires_at.map_or(now, |at| at.min(now)));
                Ok(())
            })
            .await?;
        }
        let name = known.name.get();
        let new = self.new_key(now, name, known.scopes, known.expires_at, Some(id))?;
        let new_id = new.0.id();
        let new = self.keep_new(new).await?;
        let mut end = now + overlap;
        let replaced = self.edit_key(id, |old| {
            // It may have been revoked or replaced since it was read.
            check_in_use(old, now)?;
            end = old.expires_at.map_or(end, |at| at.min(end));
            (old.expires_at, old.replaced_by) = (Some(end), Some(new_id));
            Ok(())
        });
        if let Err(refusal) = replaced.await {
            // Nobody has seen the new one.
            self.revoke_now(new_id, now).await?;
            return Err(refusal);
        }
        let (old, by) = (id.to_string(), new_id.to_string());
        self.note(Change::new("api-key.rotate", &old).from_to(None, &*by))
            .await;
        Ok(Rotated {
            new,
            old_expires_at: end,
        })
    }

    /// Revokes an API key. Again: the same.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`], [`Kind::Forbidden`] for one that may more than the caller, and when it could not be kept. Nothing was
    /// changed then.
    pub async fn revoke_api_key(&self, id: &str) -> Result<(ApiKeyId, UnixSecs, Changed), Refusal> {
        let (id, known) = self.api_key(id)?;
        self.check_scopes(known.scopes)?;
        if let Some(at) = known.revoked_at {
            return Ok((id, at, Changed::default()));
        }
        let now = super::now();
        let (at, changed) = self.revoke_now(id, now).await?;
        let (target, before) = (id.to_string(), audited(&known));
        let change = Change::new("api-key.revoke", &target).from_to(&*before, None);
        self.note(change).await;
        Ok((id, at, changed))
    }

    async fn revoke_now(
        &self,
        id: ApiKeyId,
        now: UnixSecs,
    ) -> Result<(UnixSecs, Changed), Refusal> {
        let mut revoked_at = now;
        let edit = |key: &mut ApiKey| {
            revoked_at = *key.revoked_at.get_or_insert(now);
            Ok(())
        };
        let (_, changed) = self.edit_key(id, edit).await?;
        Ok((revoked_at, changed))
    }

    fn new_key(
        &self,
        now: UnixSecs,
        name: &str,
        scopes: Scopes,
        expires_at: Option<UnixSecs>,
        replaces: Option<ApiKeyId>,
    ) -> Result<(Credential, ApiKey), Refusal> {
        let credential = Credential::draw(&super::random());
        let key = ApiKey {
            tenant: self.needs_tenant()?,
            secret: credential.hash(),
            hint: credential.hint(),
            name: Dated::new(now, name.into()),
            scopes,
            made_by: self.name(),
            made_at: now,
            expires_at,
            revoked_at: None,
            replaces,
            replaced_by: None,
            last_used_at: None,
        };
        Ok((credential, key))
    }

    async fn keep_new(
        &self,
        (credential, key): (Credential, ApiKey),
    ) -> Result<NewApiKey, Refusal> {
        let (id, key) = (credential.id().to_string(), Arc::new(key));
        let content = Content::ApiKey(Arc::clone(&key));
        let changed = self.limiter.node().set(SERVICE, &id, content).await?;
        Ok(NewApiKey {
            credential,
            key,
            changed,
        })
    }

    /// Changes an API key of the tenant as it stands now.
    async fn edit_key(
        &self,
        id: ApiKeyId,
        edit: impl FnOnce(&mut ApiKey) -> Result<(), Refusal> + Send,
    ) -> Result<(Arc<ApiKey>, Changed), Refusal> {
        let mut kept = None;
        let edit = |known: Option<&Content>| {
            let known = known.and_then(Content::api_key).ok_or_else(no_key)?;
            let mut key = ApiKey::clone(known);
            edit(&mut key)?;
            let key = Arc::new(key);
            kept = Some(Arc::clone(&key));
            Ok::<_, Refusal>(Content::ApiKey(key))
        };
        let (node, id) = (self.limiter.node(), id.to_string());
        let changed = node.edit(Record::ApiKey, SERVICE, &id, edit).await?;
        Ok((kept.expect("what was changed was edited"), changed))
    }

    fn check_scopes(&self, scopes: Scopes) -> Result<(), Refusal> {
        match scopes.are_within(self.scopes()) {
            true => Ok(()),
            false => Err(wider("scopes", "those of the API key that asks, or fewer")),
        }
    }

    /// Refuses one more API key than the plan has room for.
    fn check_room(&self, now: UnixSecs) -> Result<(), Refusal> {
        self.needs_tenant()?;
        let Some(tenancy) = self.limiter.tenancy() else {
            return Ok(());
        };
        let plan = tenancy.plan();
        let keys = self.api_keys(None, usize::MAX);
        let valid = keys
            .iter()
            .filter(|(_, key)| key.state(now) == ApiKeyState::Valid);
        match valid.count() < plan.api_keys as usize {
            true => Ok(()),
            false => Err(Refusal::plan_limit("API keys", plan.api_keys, plan)),
        }
    }
}

/// An API key as the audit tells it.
fn audited(key: &ApiKey) -> String {
    let scopes: Vec<&str> = key.scopes.iter().map(Scope::name).collect();
    let expires = key
        .expires_at
        .map_or("never".to_owned(), |at| at.to_string());
    format!(
        "{}: {}; expires {expires}",
        key.name.get(),
        scopes.join(", ")
    )
}

fn no_key() -> Refusal {
    Refusal::new(Kind::NotFound, "there is no such API key").at("id")
}

/// Refuses an API key that was replaced, or opens nothing any more.
fn check_in_use(key: &ApiKey, now: UnixSecs) -> Result<(), Refusal> {
    let conflict = |detail: &'static str| Refusal::new(Kind::Conflict, detail).at("id");
    if let Some(by) = key.replaced_by {
        let refusal = conflict("this API key was replaced already");
        return Err(refusal.with("replaced_by", by.to_string()));
    }
    match key.state(now) {
        ApiKeyState::Valid => Ok(()),
        ApiKeyState::Revoked(_) => Err(conflict("this API key was revoked")),
        ApiKeyState::Expired(_) => Err(conflict("this API key has expired")),
    }
}

fn wider(field: &'static str, accepted: &'static str) -> Refusal {
    let detail = format!("{field} must be {accepted}");
    Refusal::new(Kind::Forbidden, detail)
        .at(field)
        .with_accepted(accepted)
}

fn check_name(name: &str) -> Result<(), Refusal> {
    match ApiKey::may_be_called(name) {
        true => Ok(()),
        false => Err(Refusal::field("name", name, NAME_ACCEPTED)),
    }
}

fn check_expiry(now: UnixSecs, expires_at: Option<UnixSecs>) -> Result<(), Refusal> {
    match expires_at {
        Some(at) if at <= now || now + LIFE_MAX < at => Err(Refusal::field(
            "expires_at",
            at.to_string(),
            EXPIRES_ACCEPTED,
        )),
        _ => Ok(()),
    }
}
