//! Tests of the vault as a whole: made only where it may be, opened only as what it is.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use super::*;
use crate::error::Kind;
use crate::testing::{Lab, block_on, folder_store, now};

#[test]
fn a_vault_is_made_once_and_only_in_an_empty_place() {
    let (folder, store) = folder_store();
    let operator = OperatorKey::generate().unwrap();
    let options = CreateOptions {
        tenant: Some("a tenant".into()),
        ..crate::testing::create_options()
    };
    assert!(matches!(
        block_on(Vault::open(store.clone())),
        Err(VaultError::NotAVault { .. })
    ));
    let (vault, report) = block_on(Vault::create(store.clone(), &operator, &options)).unwrap();
    assert!(report.is_fit());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let again = block_on(Vault::create(store.clone(), &operator, &options));
    assert!(matches!(again, Err(VaultError::AlreadyAVault { .. })));
    let opened = block_on(Vault::open(store)).unwrap();
    assert_eq!(
        (opened.id(), opened.descriptor()),
        (operator.vault_id(), vault.descriptor())
    );
    assert_eq!(opened.descriptor().tenant.as_deref(), Some("a tenant"));

    let (folder, store) = folder_store();
    std::fs::write(folder.path().join("letter.txt"), "dear").unwrap();
    let error = block_on(Vault::create(store.clone(), &operator, &options)).unwrap_err();
    assert!(matches!(error, VaultError::NotEmpty { .. }) && error.hint().is_some());
    assert!(matches!(
        block_on(Vault::open(store)),
        Err(VaultError::NotAVault { .. })
    ));
    let (folder, store) = folder_store();
    std::fs::create_dir(folder.path().join("an empty folder")).unwrap();
    assert!(matches!(
        block_on(Vault::create(store, &operator, &options)),
        Err(VaultError::NotEmpty { .. })
    ));
}

#[test]
fn a_machine_that_knows_its_vault_needs_no_descriptor_and_takes_no_other() {
    let lab = Lab::new();
    lab.server(1);
    let pin = lab.vault.pin();
    let open = || block_on(Vault::open_pinned(lab.vault.store().clone(), &pin));
    assert!(open().unwrap().1.is_none());
    let path = lab.path(names::DESCRIPTOR);
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, &good[..good.len() / 2]).unwrap();
    assert!(
        block_on(Vault::open(lab.vault.store().clone()))
            .unwrap_err()
            .is_damage()
    );
    let (vault, damage) = open().unwrap();
    assert_eq!(
        (vault.id(), damage.unwrap().kind),
        (lab.vault.id(), DamageKind::Descriptor)
    );
    assert_eq!(block_on(vault.servers()).unwrap().0.iter().count(), 1);
    std::fs::remove_file(&path).unwrap();
    assert!(
        block_on(Vault::open(lab.vault.store().clone()))
            .unwrap_err()
            .is_damage()
    );
    assert!(open().unwrap().1.is_some());
    std::fs::write(&path, r#"{"format": 2}"#).unwrap();
    assert!(matches!(open(), Err(VaultError::NewerFormat { .. })));

    let other = Lab::new();
    std::fs::copy(other.path(names::DESCRIPTOR), &path).unwrap();
    assert!(matches!(open(), Err(VaultError::OtherVault { .. })));
}

#[test]
fn the_operator_sees_servers_and_points_without_a_passphrase() {
    let lab = Lab::new();
    let domain = lab.open(Some(lab.server(1)), "one");
    lab.backup(&domain, 1, &[("/a", vec![1; 10])]);
    lab.backup(&domain, 2, &[("/a", vec![2; 10])]);
    block_on(domain.forget(&[lockstone_proto::ids::PointId([1; 16])], now())).unwrap();
    let vault = block_on(Vault::open(lab.vault.store().clone())).unwrap();
    assert_eq!(block_on(vault.domains()).unwrap(), [lab.domain]);
    let (servers, damage) = block_on(vault.servers()).unwrap();
    assert!(damage.is_empty());
    assert_eq!(servers.by_name("server 1").len(), 1);
    let (points, damage) = block_on(vault.points(lab.domain)).unwrap();
    assert!(damage.is_empty());
    assert_eq!(points.iter().map(|point| point.id.0[0]).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(points[0].forgotten, Some(now().as_second()));
    assert_eq!(points[1].summary.tags, ["daily"]);

    // A damaged entry hides no other.
    std::fs::write(lab.path(&names::log_entry(lab.domain, points[0].n)), "garbage").unwrap();
    let (points, damage) = block_on(vault.points(lab.domain)).unwrap();
    assert_eq!(points.iter().map(|point| point.id.0[0]).collect::<Vec<_>>(), [2]);
    assert_eq!(damage.len(), 1);
}

#[test]
fn registering_needs_this_vaults_credentials_and_is_done_once() {
    let (lab, other) = (Lab::new(), Lab::new());
    let issue = crate::access::credentials::Issue {
        region: lockstone_proto::access::Region::Primary,
        url: String::new(),
        secondary_url: None,
        tenant: None,
        now: now(),
        valid_days: 1,
    };
    let key = crate::access::credentials::generate_signing_key().unwrap();
    let id = lockstone_proto::ids::ServerId([3; 16]);
    let new = NewServer {
        id,
        name: "web",
        domain: lab.domain,
        key: &key,
        machine: None,
    };
    let foreign = other.operator.issue(&issue).unwrap();
    let refused = block_on(lab.vault.register(&foreign, &new, now())).unwrap_err();
    assert_eq!(refused.kind(), Kind::BadCredentials);
    let own = lab.operator.issue(&issue).unwrap();
    block_on(lab.vault.register(&own, &new, now())).unwrap();
    block_on(lab.vault.register(&own, &new, now())).unwrap();
    let usurper = crate::access::credentials::generate_signing_key().unwrap();
    let new = NewServer { key: &usurper, ..new };
    assert!(block_on(lab.vault.register(&own, &new, now())).is_err());
    assert_eq!(
        block_on(lab.vault.servers()).unwrap().0.get(id).unwrap().key,
        key.verifying_key()
    );
}

#[test]
fn a_wrong_clock_neither_dates_a_registration_nor_makes_credentials_valid() {
    let lab = Lab::new();
    let hours = |hours: i64| jiff::SignedDuration::from_hours(hours);
    let issue = crate::access::credentials::Issue {
        region: lockstone_proto::access::Region::Primary,
        url: String::new(),
        secondary_url: None,
        tenant: None,
        now: now(),
        valid_days: 10,
    };
    let credentials = lab.operator.issue(&issue).unwrap();
    let key = crate::access::credentials::generate_signing_key().unwrap();
    let register = |id: u8, clock: Timestamp, store_ahead: i64| {
        let id = lockstone_proto::ids::ServerId([id; 16]);
        let new = NewServer {
            id,
            name: "web",
            domain: lab.domain,
            key: &key,
            machine: None,
        };
        lab.vault.store().clock().note(Timestamp::now() + hours(store_ahead));
        block_on(lab.vault.register(&credentials, &new, clock))?;
        let (servers, _) = block_on(lab.vault.servers())?;
        Ok::<_, VaultError>(servers.get(id).unwrap().registered)
    };
    assert_eq!(register(1, now() + hours(3), 0).unwrap(), now() + hours(3));
    let ahead = register(2, now() + hours(200), -195).unwrap();
    let wanted = now() + hours(5);
    assert!(
        ahead.duration_since(wanted).abs() < jiff::SignedDuration::from_mins(1),
        "{ahead}"
    );
    let late = register(3, now(), 300).unwrap_err();
    assert!(late.to_string().contains("by the clock of the vault's store"), "{late}");
    lab.vault.store().clock().note(Timestamp::now() - hours(50));
    assert_eq!(lab.vault.store_time(now()), None, "no vault was there yet");
}

#[test]
fn job_records_are_listed_and_forged_ones_named() {
    use crate::access::job_records::{Author, list_jobs, write_job};
    use lockstone_proto::job::{JobKind, JobRecord, JobState};
    let lab = Lab::new();
    let signer = lab.server(1);
    let record = |job: u8, number: u32, state: JobState| JobRecord {
        version: 1,
        vault_id: lab.vault.id().0.to_vec().into(),
        server_id: signer.server.0.to_vec().into(),
        job_id: vec![job; 16].into(),
        number,
        kind: JobKind::Backup.into(),
        state: state.into(),
        started_s: i64::from(job),
        ..JobRecord::default()
    };
    let store = lab.vault.store();
    let stranger = crate::access::credentials::generate_signing_key().unwrap();
    block_on(async {
        write_job(store, &record(2, 0, JobState::Running), Author::Server(&signer.key))
            .await
            .unwrap();
        write_job(store, &record(1, 0, JobState::Running), Author::Server(&signer.key))
            .await
            .unwrap();
        write_job(store, &record(1, 1, JobState::Completed), Author::Server(&signer.key))
            .await
            .unwrap();
        write_job(store, &record(3, 0, JobState::Running), Author::Server(&stranger))
            .await
            .unwrap();
        let (servers, _) = lab.vault.servers().await.unwrap();
        let (jobs, damage) = list_jobs(store, &lab.vault.pin(), &servers, None).await.unwrap();
        let states: Vec<_> = jobs.iter().map(|job| (job.job_id[0], job.state())).collect();
        assert_eq!(states, [(1, JobState::Completed), (2, JobState::Running)]);
        assert_eq!(damage.len(), 1);
        let nobody = Some(lockstone_proto::ids::ServerId([9; 16]));
        assert!(
            list_jobs(store, &lab.vault.pin(), &servers, nobody)
                .await
                .unwrap()
                .0
                .is_empty()
        );
    });
}
