//! Tests of orders: how they are given, read and summed up.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::error::Kind;
use crate::testing::{Lab, block_on, now};

const SERVER: ServerId = ServerId([1; 16]);

fn end_server(domain: DomainId, last_entry: u64) -> Decision {
    Decision::EndServer {
        server: SERVER,
        domain,
        last_entry,
    }
}

fn load(lab: &Lab) -> Result<(Orders, Vec<Damage>), VaultError> {
    block_on(lab.vault.orders())
}

fn order(lab: &Lab, decision: &Decision) -> u64 {
    block_on(give(lab.vault.store(), &lab.operator, decision, "why", now())).unwrap()
}

#[test]
fn orders_are_numbered_and_summed_up() {
    let lab = Lab::new();
    assert_eq!(load(&lab).unwrap().0, Orders::default());
    assert_eq!(order(&lab, &end_server(lab.domain, 7)), 1);
    assert_eq!(order(&lab, &Decision::SetTenant(Some("b".to_owned()))), 2);
    assert_eq!(order(&lab, &Decision::SetTenant(None)), 3);
    // A right that was ended does not come back.
    assert_eq!(order(&lab, &end_server(lab.domain, 9)), 4);
    let (orders, damage) = load(&lab).unwrap();
    assert!(damage.is_empty());
    assert_eq!(orders.last(), 4);
    assert_eq!(
        (orders.tenant(Some("a")), Orders::default().tenant(Some("a"))),
        (None, Some("a"))
    );
    assert_eq!(orders.ended(SERVER).unwrap().reason, "why");
    assert!(orders.counts(SERVER, lab.domain, 7) && !orders.counts(SERVER, lab.domain, 8));
    assert!(orders.counts(SERVER, DomainId([9; 16]), 8) && orders.counts(ServerId([2; 16]), lab.domain, 8));
}

#[test]
fn orders_that_are_given_at_once_have_numbers_of_their_own() {
    let lab = Lab::new();
    let decisions: Vec<Decision> = (0..8).map(|n| end_server(lab.domain, n)).collect();
    let mut numbers = block_on(async {
        let giving = decisions
            .iter()
            .map(|decision| give(lab.vault.store(), &lab.operator, decision, "", now()));
        futures::future::try_join_all(giving).await.unwrap()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(load(&lab).unwrap().0.ended(SERVER).unwrap().last_entry, 0);
}

#[test]
fn what_is_no_order_is_named_and_hides_none() {
    let lab = Lab::new();
    let put = |number: u64, object: &[u8]| {
        let object = Bytes::copy_from_slice(object);
        block_on(lab.vault.store().create(&names::order(number), object)).unwrap();
    };
    put(1, b"junk");
    assert_eq!(order(&lab, &end_server(lab.domain, 7)), 2);
    put(5, b"more junk");
    let (orders, damage) = load(&lab).unwrap();
    assert!(orders.ended(SERVER).is_some());
    assert_eq!(
        damage.iter().map(|damage| damage.kind).collect::<Vec<_>>(),
        [DamageKind::Order; 2]
    );
    // One that another operator signed, and one that belongs to another number.
    let other = Lab::new();
    let foreign = sign(&other.operator, 3, &end_server(lab.domain, 0), "", now());
    put(3, &foreign);
    put(4, &sign(&lab.operator, 6, &end_server(lab.domain, 0), "", now()));
    assert_eq!(load(&lab).unwrap().1.len(), 4);
    assert_eq!(load(&lab).unwrap().0.ended(SERVER).unwrap().last_entry, 7);
}

#[test]
fn a_missing_order_is_noticed_when_one_stands_behind_it() {
    let lab = Lab::new();
    order(&lab, &end_server(lab.domain, 7));
    order(&lab, &Decision::SetTenant(None));
    std::fs::remove_file(lab.path(&names::order(1))).unwrap();
    let (orders, damage) = load(&lab).unwrap();
    assert!(orders.ended(SERVER).is_none());
    assert_eq!(
        damage.iter().map(|damage| &damage.object).collect::<Vec<_>>(),
        [&names::order(1)]
    );
}

#[test]
fn an_order_of_a_newer_version_is_not_passed_over() {
    let lab = Lab::new();
    let newer = Order {
        version: FORMAT_VERSION + 1,
        ..Order::default()
    }
    .encode_to_vec();
    let signature = lab.operator.signing().sign(&[CONTEXT, &newer].concat());
    let object = SignedOrder {
        order: newer.into(),
        signature: Bytes::copy_from_slice(&signature.to_bytes()),
    };
    block_on(lab.vault.store().create(&names::order(1), object.encode_to_vec())).unwrap();
    assert_eq!(load(&lab).unwrap_err().kind(), Kind::Other);
    assert!(matches!(
        block_on(lab.vault.servers()),
        Err(VaultError::NewerFormat { .. })
    ));
}

#[test]
fn only_the_operator_of_the_vault_gives_orders() {
    let (lab, other) = (Lab::new(), Lab::new());
    let refused = block_on(lab.vault.set_tenant(&other.operator, None, now())).unwrap_err();
    assert_eq!(refused.kind(), Kind::BadCredentials);
    assert_eq!(load(&lab).unwrap().0.last(), 0);
}
