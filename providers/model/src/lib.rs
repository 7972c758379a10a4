//! What a load balancer is.
