//! Several gateways on one Redis: real daemons, real servers, and what goes wrong between them.
//!
//! [`fleet`] starts them; [`watch`] sees what operators are told; [`moves`] has clients that change their gateway, [`storms`] puts a whole
//! world of back ends and clients under one kind of trouble each, [`failover`] lets another server
//! take over, [`cluster`] spreads keys over several. What is promised is judged as in `crash.rs`. A storm prints its seed:
//! `SEED=7 cargo test -p steadfast --test nodes NAME -- --nocapture`.

#[path = "nodes/cluster.rs"]
mod cluster;
#[path = "nodes/failover.rs"]
mod failover;
#[path = "nodes/fleet.rs"]
mod fleet;
#[path = "crash/judge.rs"]
mod judge;
#[path = "crash/ledger.rs"]
mod ledger;
#[path = "nodes/moves.rs"]
mod moves;
#[path = "../shell/tests/redis_store/server.rs"]
mod server;
#[path = "nodes/storms.rs"]
mod storms;
mod support;
#[path = "nodes/watch.rs"]
mod watch;
#[allow(dead_code, reason = "a world of one gateway can do more")]
#[path = "crash/world.rs"]
mod world;
