//! Load balancers in, a listening proxy out.
