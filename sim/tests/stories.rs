//! Stories: short scripts whose whole trace is a reviewed snapshot. Each tells one rule.

use steadfast_core::config::Config;
use steadfast_sim::world::{Pongs, Store, World};

/// Runs a script and compares the trace with `snapshots/<name>.snap`.
fn story(name: &str, config: Config, script: impl FnOnce(&mut World)) {
    let mut world = World::new(config);
    script(&mut world);
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, world.trace.text()));
}

#[test]
fn push_online() {
    story("push_online", Config::default(), |world| {
        world.pongs = Pongs::None;
        let a = world.client("5");
        world.pong(a);
        let backend = world.pusher();
        world.wait_ms(100);
        world.push(backend, "5", "hello");
        world.note("The pong proves that the client has the message; the store may forget it.");
        world.pong(a);
        world.store = Store::Prompt;
    });
}
