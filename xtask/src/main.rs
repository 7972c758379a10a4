//! A task's name in, the work done or what is missing out.

fn main() {}
