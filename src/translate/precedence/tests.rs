//! Precedence as values: random rules in, the order they must have out.
