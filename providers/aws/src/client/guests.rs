//! Roles of other accounts in, a client with the rights of each out.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_config::SdkConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_sdk_elasticloadbalancingv2::config::SharedCredentialsProvider;
use portcullis_model::Guest;
use tokio::sync::Mutex;

use super::{Calls, Client};
use crate::throttle::Limit;

/// Of our session in the logs of the other account. Source: STS API, AssumeRole.RoleSessionName.
const SESSION: &str = "portcullis";

/// The clients of other accounts: each made once. Its SDK keeps the credentials, and renews them before they expire.
#[derive(Debug)]
pub(crate) struct Guests {
    config: SdkConfig,
    limits: Vec<Limit>,
    calls: Arc<Calls>,
    clients: Mutex<BTreeMap<Guest, Arc<Client>>>,
}

impl Guests {
    pub(crate) fn new(config: SdkConfig, limits: Vec<Limit>, calls: Arc<Calls>) -> Self {
        Self {
            config,
            limits,
            calls,
            clients: Mutex::default(),
        }
    }

    /// Makes no call: the role is assumed when the client is first used.
    pub(crate) async fn client(&self, guest: &Guest) -> Arc<Client> {
        let mut clients = self.clients.lock().await;
        if let Some(client) = clients.get(guest) {
            return client.clone();
        }
        let role = AssumeRoleProvider::builder(&guest.role)
            .external_id(&guest.external_id)
            .session_name(SESSION)
            .configure(&self.config)
            .build()
            .await;
        let config = self
            .config
            .to_builder()
            .credentials_provider(SharedCredentialsProvider::new(role))
            .build();
        // AWS limits each account by itself, so the client waits for turns of its own.
        let client = Arc::new(Client::new(&config, self.limits.clone(), self.calls.clone()));
        clients.insert(guest.clone(), client.clone());
        client
    }
}
