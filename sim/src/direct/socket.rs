//! Sockets between clients and the gateway.

use steadfast_core::id::ConnId;

/// One TCP connection to the gateway.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) id: ConnId,
    /// Whose it is; strangers have no number.
    pub(super) client: Option<u32>,
    /// Whether the gateway still has it.
    pub(super) open: bool,
    /// Bytes of this direction were lost: nothing more arrives.
    pub(super) severed_up: bool,
    pub(super) severed_down: bool,
    /// When the last bytes arrive that were sent in each direction: later ones come later.
    pub(super) last_up: u64,
    pub(super) last_down: u64,
    /// Whether the client's end is gone without a word, and the gateway does not know.
    pub(super) half_open: bool,
    /// Whether the judge was told that something is wrong with it.
    pub(super) ailing: bool,
    /// Whether the upgrade was told to the gateway.
    pub(super) upgraded: bool,
    /// The key it was bound to, for takeovers.
    pub(super) bound: Option<u32>,
}

impl Socket {
    pub(super) fn new(id: ConnId, client: Option<u32>) -> Self {
        Self {
            id,
            client,
            open: true,
            severed_up: false,
            severed_down: false,
            last_up: 0,
            last_down: 0,
            half_open: false,
            ailing: false,
            upgraded: false,
            bound: None,
        }
    }

    /// Whether bytes were lost, so that TCP can't go on.
    pub(super) fn is_severed(&self) -> bool {
        self.severed_up || self.severed_down
    }
}

/// All sockets of a world, by the slot of their ids. A slot is used again when the gateway has been
/// told that its connection is gone.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    slots: Vec<Socket>,
    free: Vec<u32>,
}

impl Sockets {
    /// Opens one.
    pub(super) fn open(&mut self, client: Option<u32>) -> ConnId {
        if let Some(slot) = self.free.pop() {
            let generation = self.slots[slot as usize].id.generation + 1;
            let id = ConnId { slot, generation };
            self.slots[slot as usize] = Socket::new(id, client);
            return id;
        }
        let slot = u32::try_from(self.slots.len()).expect("a world has few sockets");
        let id = ConnId { slot, generation: 0 };
        self.slots.push(Socket::new(id, client));
        id
    }

    /// The socket of this id, if the id is not an old one.
    pub(super) fn get(&mut self, id: ConnId) -> Option<&mut Socket> {
        self.slots.get_mut(id.slot as usize).filter(|socket| socket.id == id)
    }

    /// The gateway was told that it is gone.
    pub(super) fn free(&mut self, id: ConnId) {
        if let Some(socket) = self.get(id).filter(|socket| socket.open) {
            socket.open = false;
            self.free.push(id.slot);
        }
    }

    /// Those that the gateway has.
    pub(super) fn open_ones(&mut self) -> impl Iterator<Item = &mut Socket> {
        self.slots.iter_mut().filter(|socket| socket.open)
    }
}
