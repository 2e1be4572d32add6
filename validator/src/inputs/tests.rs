//! Which rails stand in an inputs file.

use super::*;
use protocol::{Account, Micros, RailId};

fn rail(opened: u64, expiry: u64) -> Rail {
    Rail {
        id: RailId(1),
        payer: Account::default(),
        payee: Account::default(),
        signer: Account::default(),
        device: DeviceId::default(),
        limit: Micros(100),
        rate: Micros::ZERO,
        nonce: 0,
        opened: Epoch(opened),
        expiry: Epoch(expiry),
        class: 0,
        presented: Micros(50),
    }
}

/// A rail that ended with epoch 10. Epoch 11 paid its vouchers and is decided, which a dissent can undo: until
/// then, each later epoch may turn out to be the first that is settled after the rail's end.
#[test]
fn a_rail_stays_until_what_paid_its_vouchers_is_claimable() {
    let ended = rail(3, 10);
    for paid_until in [None, Some(Epoch(6)), Some(Epoch(10))] {
        for epoch in [10, 11, 12, 15] {
            assert!(may_pay(&ended, Epoch(epoch), paid_until), "{epoch} after {paid_until:?}");
        }
    }
    assert!(!may_pay(&ended, Epoch(16), Some(Epoch(11))));
    // It counts from the epoch after its opening, whatever is settled.
    assert!(!may_pay(&ended, Epoch(3), None));
    assert!(may_pay(&ended, Epoch(4), Some(Epoch(2))));
}
