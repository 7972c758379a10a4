//! Load balancers in, Application Load Balancers out.
