//! Runs on several processes: the same bits on every number of them, one record, and ends that all of
//! them share. The processes are connected by a communicator over Unix sockets, which is part of these
//! tests.

mod cut;
mod failing;
mod mpi;
mod normalization;
mod place;
mod random;
mod same_bits;
