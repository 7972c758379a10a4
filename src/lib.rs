//! The controller: reads the cluster, decides with a provider, writes status.
