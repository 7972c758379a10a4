//! A load balancer's id in, the Secrets that it needs read into the index out: each asked for when its version moved.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use kube::api::DynamicObject;
use kube::{Api, Client};
use portcullis_model::{LoadBalancerId, ObjectName};
use tokio::sync::Notify;
use tracing::debug;

use super::pass::Failure;
use crate::cluster::object::{Kind, Object};
use crate::cluster::snapshot::Answered;
use crate::cluster::watch::{SharedIndex, api_resource};
use crate::cluster::wire;
use crate::translate::{Settings, secrets_of};

/// Longest time for one Secret.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Secrets asked for at the same time.
const AT_ONCE: usize = 4;

/// Why it is not known what a Secret holds. A pass that needs it is tried again; what exists serves on.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("failed to read Secret {name}")]
    Read {
        name: ObjectName,
        #[source]
        source: kube::Error,
    },
    #[error("no answer about Secret {name} within {} s", TIMEOUT.as_secs())]
    Timeout { name: ObjectName },
}

/// Asks the cluster for Secrets.
#[derive(Clone)]
pub struct SecretReader {
    client: Client,
    /// Woken as soon as one is needed at all.
    needed: Arc<Notify>,
}

impl fmt::Debug for SecretReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretReader").finish_non_exhaustive()
    }
}

/// What was answered, with the version it is of.
type Answer = (ObjectName, Option<Arc<str>>, Answered);

impl SecretReader {
    pub fn new(client: Client) -> Self {
        Self {
            client,
            needed: Arc::default(),
        }
    }

    /// Wakes whoever follows Secrets, from when one is needed.
    pub fn needed(&self) -> Arc<Notify> {
        self.needed.clone()
    }

    /// Reads what this load balancer needs and what is not known yet, or not any more.
    pub async fn read(
        &self,
        index: &SharedIndex,
        id: &LoadBalancerId,
        settings: &Settings,
    ) -> Result<(), Failure> {
        let ask = {
            let mut index = index.lock();
            let needs = secrets_of(&index.synced()?.snapshot(id), settings);
            index.need_secrets(id, needs)
        };
        if ask.is_empty() {
            return Ok(());
        }
        self.needed.notify_one();
        debug!(secrets = ask.len(), "asking for Secrets");
        let answers: Vec<Answer> = stream::iter(ask)
            .map(|name| self.ask(name))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let mut index = index.lock();
        for (name, version, answered) in answers {
            index.answer_secret(&name, version, answered);
        }
        Ok(())
    }

    async fn ask(&self, name: ObjectName) -> Result<Answer, SecretError> {
        let resource = api_resource(Kind::Secret);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &name.namespace, &resource);
        let Ok(answer) = tokio::time::timeout(TIMEOUT, api.get(&name.name)).await else {
            return Err(SecretError::Timeout { name });
        };
        match answer {
            Ok(object) => {
                let version = object.metadata.resource_version.clone().map(Arc::from);
                Ok((name, version, read(object)))
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok((name, None, Answered::Missing)),
            Err(kube::Error::Api(status)) if status.code == 403 => {
                Ok((name, None, Answered::Refused(status.message.clone().into())))
            }
            Err(source) => Err(SecretError::Read { name, source }),
        }
    }
}

/// No word of an error is of what a Secret holds.
fn read(object: DynamicObject) -> Answered {
    let value = serde_json::to_value(object).map_err(|error| error.to_string());
    let read =
        value.and_then(|value| wire::from_api(Kind::Secret, &value).map_err(|error| error.to_string()));
    match read {
        Ok(Object::Secret(secret)) => Answered::Found(secret),
        Ok(other) => Answered::Refused(format!("the answer is a {}", other.kind().as_str()).into()),
        Err(why) => Answered::Refused(why.into()),
    }
}
