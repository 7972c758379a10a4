//! The Kubernetes API in, every object there is out, listed once: for commands that look and end.

use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt};
use portcullis_model::ObjectName;

use super::object::{Kind, Object};
use super::watch::{api_resource, read};

/// Objects per page.
const PAGE: u32 = 500;

/// What a command that must see everything did not see.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    #[error("{kind} cannot be listed")]
    Refused {
        kind: &'static str,
        #[source]
        source: kube::Error,
    },
    #[error("{kind} {name} cannot be read")]
    Unreadable { kind: &'static str, name: ObjectName },
}

/// All objects of all kinds but Secrets. One that cannot be read is an error: it would look as if it were gone.
pub async fn objects(client: &Client) -> Result<Vec<Object>, ListError> {
    let mut all = Vec::new();
    for kind in Kind::ALL.iter().copied().filter(|kind| *kind != Kind::Secret) {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &api_resource(kind));
        let listed = pages(&api).await;
        let listed = match listed {
            // The incumbent's kinds need not be installed.
            Err(kube::Error::Api(status)) if status.code == 404 && is_incumbents(kind) => continue,
            listed => listed.map_err(|source| ListError::Refused {
                kind: kind.as_str(),
                source,
            })?,
        };
        for object in listed {
            let name = ObjectName::new(object.namespace().unwrap_or_default(), object.name_any());
            let kind_name = kind.as_str();
            all.push(read(kind, object).ok_or(ListError::Unreadable {
                kind: kind_name,
                name,
            })?);
        }
    }
    Ok(all)
}

fn is_incumbents(kind: Kind) -> bool {
    kind.api_version().starts_with("elbv2.k8s.aws/")
}

/// All objects of a kind, page by page.
pub async fn pages(api: &Api<DynamicObject>) -> Result<Vec<DynamicObject>, kube::Error> {
    let mut all = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = api.list(&params).await?;
        let next = page.metadata.continue_.filter(|token| !token.is_empty());
        all.extend(page.items);
        match next {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
}
