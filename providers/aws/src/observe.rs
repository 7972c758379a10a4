//! Ids of load balancers in, what exists of them and is ours out: reads only, with as few calls as the API allows.

mod account;
mod bound;
mod closer;
mod consulted;
mod details;
mod health;
mod listing;
mod tags;

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use portcullis_model::{LoadBalancerId, ProviderError};

use crate::account::{Account, Listing};
use crate::client::Client;
use crate::names;
use crate::observed::{Looked, Marked, Observed, Owned, Owner, Shared};
use crate::resource::Pairs;

pub(crate) use account::{Authorities, account};
pub(crate) use bound::{bind, registered};
pub(crate) use closer::look_closer;
pub(crate) use consulted::consult;
pub(crate) use health::health;
pub(crate) use tags::{RESOURCES_PER_CALL, tags_of};

/// Calls that wait for their answers at the same time.
const CALLS_AT_ONCE: usize = 8;

/// Waits for many calls, some at a time; the first error ends it.
async fn together<T>(
    calls: Vec<impl Future<Output = Result<T, ProviderError>>>,
) -> Result<Vec<T>, ProviderError> {
    stream::iter(calls)
        .buffer_unordered(CALLS_AT_ONCE)
        .try_collect()
        .await
}

/// Reads many load balancers. What exists and whose it is, is what the account's listing says; so that must be no
/// older than the last change to any of them. What the listing lacks is read here: nothing for a load balancer of
/// which nothing exists.
pub(crate) async fn observe(
    client: &Client,
    cluster: &str,
    ids: &[LoadBalancerId],
    account: &Account,
) -> Result<BTreeMap<LoadBalancerId, Observed>, ProviderError> {
    let mut all: BTreeMap<_, _> = ids
        .iter()
        .map(|id| {
            (
                id.to_string(),
                Observed::nothing(Owner::load_balancer(cluster, id)),
            )
        })
        .collect();
    sort_out(&mut all, &account.listing);
    details::read(client, all.values_mut()).await?;
    Ok(ids
        .iter()
        .filter_map(|id| Some((id.clone(), all.remove(&id.to_string())?)))
        .collect())
}

/// Gives each resource of the listing to the load balancer whose ownership tags it has, if that is asked for.
fn sort_out(all: &mut BTreeMap<String, Observed>, listing: &Listing) {
    for state in &listing.load_balancers {
        if let Some(observed) = of(all, &state.spec.tags) {
            let owned = Owned::read(&observed.owner, &state.spec.tags, state.clone());
            observed.load_balancers.extend(owned);
        }
    }
    for state in &listing.target_groups {
        if let Some(observed) = of(all, &state.spec.tags) {
            let owned = Owned::read(&observed.owner, &state.spec.tags, state.clone());
            observed.target_groups.extend(owned);
        }
    }
    for state in &listing.security_groups {
        if let Some(observed) = of(all, &state.spec.tags) {
            let owned = Owned::read(&observed.owner, &state.spec.tags, state.clone());
            observed.security_groups.extend(owned);
        }
    }
    match &listing.certificates {
        Looked::Never => {}
        Looked::At(certificates) => {
            for state in certificates {
                if let Some(observed) = of(all, &state.tags) {
                    let owned = Owned::read(&observed.owner, &state.tags, state.clone());
                    observed.certificates.extend(owned);
                }
            }
        }
        Looked::Failed(error) => {
            for observed in all.values_mut() {
                observed.certificates_unread = Some(error.clone());
            }
        }
    }
}

fn of<'a>(all: &'a mut BTreeMap<String, Observed>, tags: &Pairs) -> Option<&'a mut Observed> {
    all.get_mut(tags.get(names::STACK_TAG)?)
}

/// What exists of what spans load balancers. The listing has it all, so this makes no call.
pub(crate) fn shared(cluster: &str, account: &Account) -> Shared {
    let mut shared = Shared::nothing(cluster);
    for state in &account.listing.security_groups {
        let owned = Owned::read(&shared.owner, &state.spec.tags, state.clone());
        if let Some(owned) = owned.filter(|owned| owned.resource() == names::BACKEND_SECURITY_GROUP_TAG) {
            shared.backend.get_or_insert(owned);
        }
        let marked: BTreeSet<_> = state.spec.permissions.iter().filter_map(Marked::read).collect();
        if !marked.is_empty() {
            shared.marked.insert(state.id.clone(), marked);
        }
    }
    shared
}
