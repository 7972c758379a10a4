//! Random load balancers and requests in; out: whether every way to serve them chooses the same action.

#[path = "alb/evaluator.rs"]
mod alb;
#[path = "alb/examples.rs"]
mod alb_examples;
#[path = "alb/validation.rs"]
mod alb_validation;
