//! Job records, and credentials files.

use bytes::Bytes;
use lockstone_proto::access::{Admission, Credentials, SignedAdmission};
use lockstone_proto::ids::JobId;
use lockstone_proto::job::{JobRecord, SignedJobRecord};
use lockstone_vault::access::registration::{Server, VaultPin};
use lockstone_vault::testing::vectors::read_job_record;
use prost::Message;
use serde_json::{Value, json};

use super::registrations::plus_order;
use super::{Cases, SERVER, VAULT, public, sign, signer, with};

pub(crate) const JOB: JobId = JobId([0x33; 16]);

fn record() -> JobRecord {
    JobRecord {
        version: 1,
        vault_id: Bytes::copy_from_slice(VAULT.as_bytes()),
        server_id: Bytes::copy_from_slice(SERVER.as_bytes()),
        job_id: Bytes::copy_from_slice(JOB.as_bytes()),
        number: 1,
        kind: 1,
        state: 3,
        started_s: 1_800_000_000,
        ended_s: 1_800_000_060,
        files: 3,
        bytes: 5000,
        stored_bytes: 700,
        point_id: vec![0x44; 16].into(),
        ..JobRecord::default()
    }
}

fn signed(seed: u8, record: Vec<u8>) -> SignedJobRecord {
    SignedJobRecord {
        signature: sign(seed, "lockstone v1 job\0", &record),
        record: record.into(),
        ..SignedJobRecord::default()
    }
}

/// Whether the object counts under the name that the case says.
pub(crate) fn is_accepted(server: &Server, case: &Value, raw: &[u8]) -> bool {
    let pin = VaultPin {
        vault_id: VAULT,
        operator_key: signer(1).verifying_key(),
    };
    let mut author = server.id.0;
    if let Some(credentials) = case["credentials"].as_str() {
        hex::decode_to_slice(credentials, &mut author).unwrap();
    }
    let number = case["number"].as_u64().unwrap() as u32;
    read_job_record(&pin, server, author, JOB, number, raw).is_ok()
}

pub(crate) fn records(cases: &mut Cases) {
    let mut add = |accepted, why: &str, object: Vec<u8>| {
        let more = json!({ "id": JOB.hex(), "number": 1 });
        cases.add("job record", accepted, why, &object, more);
    };
    let changed = |change: &dyn Fn(&mut JobRecord)| {
        let changed = with(record(), |it| change(it));
        signed(3, changed.encode_to_vec()).encode_to_vec()
    };
    let good = signed(3, record().encode_to_vec());
    add(true, "the end of a backup", good.encode_to_vec());
    let plain = |it: &mut JobRecord| {
        (it.kind, it.state, it.point_id, it.ended_s) = (3, 0, Bytes::new(), 0);
    };
    add(true, "no point, no end, and state 0", changed(&plain));
    add(false, "version 2", changed(&|it| it.version = 2));
    add(false, "version 0", changed(&|it| it.version = 0));
    add(false, "kind 0", changed(&|it| it.kind = 0));
    add(false, "kind 5", changed(&|it| it.kind = 5));
    add(false, "state 7", changed(&|it| it.state = 7));
    for len in [15, 17, 32] {
        let why = format!("a point of {len} bytes");
        add(false, &why, changed(&|it| it.point_id = vec![0x44; len].into()));
    }
    add(
        false,
        "another vault's",
        changed(&|it| it.vault_id = vec![0; 16].into()),
    );
    add(
        false,
        "another server's",
        changed(&|it| it.server_id = vec![0; 16].into()),
    );
    add(
        false,
        "a server of 15 bytes",
        changed(&|it| it.server_id = vec![0x99; 15].into()),
    );
    add(false, "another job's", changed(&|it| it.job_id = vec![0; 16].into()));
    add(
        false,
        "a job of 17 bytes",
        changed(&|it| it.job_id = vec![0x33; 17].into()),
    );
    add(false, "another number", changed(&|it| it.number = 0));
    for (why, time) in [("a start", -377_705_023_202), ("an end", 253_402_207_201)] {
        let change = |it: &mut JobRecord| match why {
            "a start" => it.started_s = time,
            _ => it.ended_s = time,
        };
        add(false, &format!("{why} that is no time"), changed(&change));
    }
    let field = [&record().encode_to_vec()[..], &[0x80, 0x08, 1]].concat();
    add(false, "a field 128", signed(3, field).encode_to_vec());
    let written_out = [&record().encode_to_vec()[..], &[0x82, 0x01, 0]].concat();
    add(
        false,
        "an error code that is empty and written out",
        signed(3, written_out).encode_to_vec(),
    );
    add(
        false,
        "a field behind the signature",
        [&good.encode_to_vec()[..], &[0x20, 1]].concat(),
    );
    let admission = admitted(1, credentials().0.encode_to_vec()).encode_to_vec();
    let with_admission = with(good.clone(), |it| it.admission = admission.into());
    add(false, "by a server, with an admission", with_admission.encode_to_vec());
    let by = |it: &mut JobRecord| it.credential_id = vec![0x22; 16].into();
    add(false, "by a server, with credentials", changed(&by));
    add(
        false,
        "signed by somebody else",
        signed(2, record().encode_to_vec()).encode_to_vec(),
    );
    let other = SignedJobRecord {
        signature: sign(3, "lockstone v1 log entry\0", &good.record),
        ..good.clone()
    };
    add(false, "signed as something else", other.encode_to_vec());
    let short = with(good.clone(), |it| it.signature = it.signature.slice(..63));
    add(false, "63 bytes of signature", short.encode_to_vec());
    let large = with(good.clone(), |it| it.signature = plus_order(&it.signature).into());
    add(
        false,
        "a signature whose S is not below the order of the group",
        large.encode_to_vec(),
    );
    add(false, "cut off", good.encode_to_vec()[..20].to_vec());
    add(false, "empty", Vec::new());
}

/// Records of who works by credentials.
pub(crate) fn by_credentials(cases: &mut Cases) {
    const CREDENTIALS: [u8; 16] = [0x22; 16];
    let mut add = |accepted, why: &str, object: SignedJobRecord| {
        let more = json!({ "id": JOB.hex(), "number": 1, "credentials": hex::encode(CREDENTIALS) });
        cases.add("job record", accepted, why, &object.encode_to_vec(), more);
    };
    let admission = credentials().0;
    let record = with(record(), |it| {
        (it.kind, it.point_id, it.credential_id) = (2, Bytes::new(), CREDENTIALS.to_vec().into());
    });
    let by = |seed, record: &JobRecord, admitted: SignedAdmission| {
        with(signed(seed, record.encode_to_vec()), |it| {
            it.admission = admitted.encode_to_vec().into();
        })
    };
    let good = || admitted(1, admission.encode_to_vec());
    add(true, "the end of a restore", by(2, &record, good()));
    add(false, "signed by a server", by(3, &record, good()));
    add(false, "no admission", signed(2, record.encode_to_vec()));
    add(
        false,
        "an admission by somebody else",
        by(2, &record, admitted(9, admission.encode_to_vec())),
    );
    let changed = |change: &dyn Fn(&mut JobRecord)| by(2, &with(record.clone(), |it| change(it)), good());
    add(
        false,
        "it names no credentials",
        changed(&|it| it.credential_id = Bytes::new()),
    );
    add(
        false,
        "it names other credentials",
        changed(&|it| it.credential_id = vec![0x23; 16].into()),
    );
    add(
        false,
        "a server of 15 bytes",
        changed(&|it| it.server_id = vec![0x99; 15].into()),
    );
    add(true, "300 s before", changed(&|it| it.started_s = 1_799_998_700));
    add(false, "301 s before", changed(&|it| it.started_s = 1_799_998_699));
    add(false, "when they expire", changed(&|it| it.started_s = 1_800_863_000));
    let other = |change: &dyn Fn(&mut Admission)| {
        let other = with(admission.clone(), |it| change(it));
        by(2, &record, admitted(1, other.encode_to_vec()))
    };
    add(true, "of the other region", other(&|it| it.region = 2));
    add(
        false,
        "credentials of another vault",
        other(&|it| it.vault_id = vec![0; 16].into()),
    );
    add(
        false,
        "an admission for other credentials",
        other(&|it| it.credential_id = vec![0x23; 16].into()),
    );
    let longer = [&admission.encode_to_vec()[..], &[0x80, 0x08, 1]].concat();
    add(
        false,
        "an admission with a field 128",
        by(2, &record, admitted(1, longer)),
    );
}

/// The text of a file with these bytes.
fn text(bytes: &[u8]) -> String {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
    let lines = encoded.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line));
    let lines: Vec<_> = lines.collect();
    let label = "LOCKSTONE VAULT CREDENTIALS";
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn credentials() -> (Admission, Credentials) {
    let admission = Admission {
        version: 1,
        vault_id: Bytes::copy_from_slice(VAULT.as_bytes()),
        credential_id: vec![0x22; 16].into(),
        admission_key: public(2),
        region: 1,
        issued_s: 1_799_999_000,
        expires_s: 1_800_863_000,
        tenant: String::new(),
        least_version: "0.1.0".to_owned(),
    };
    let credentials = Credentials {
        url: "/srv/vault".to_owned(),
        operator_key: public(1),
        admission: Some(admitted(1, admission.encode_to_vec())),
        admission_secret: vec![2; 32].into(),
        secondary_url: String::new(),
    };
    (admission, credentials)
}

fn admitted(seed: u8, admission: Vec<u8>) -> SignedAdmission {
    SignedAdmission {
        signature: sign(seed, "lockstone v1 admission\0", &admission),
        admission: admission.into(),
    }
}

pub(crate) fn files(cases: &mut Cases) {
    let mut add = |accepted, why: &str, text: &str| {
        cases.add("credentials", accepted, why, text.as_bytes(), json!({}));
    };
    let (admission, credentials) = credentials();
    let good = text(&credentials.encode_to_vec());
    add(true, "credentials", &good);
    add(
        true,
        "text around, and line ends of Windows",
        &format!("Hello\r\n{}Bye\r\n", good.replace('\n', " \r\n")),
    );
    add(false, "no line that begins it", &good.replace("BEGIN", "BEGINNING"));
    add(false, "no line that ends it", good.split("-----END").next().unwrap());
    add(
        false,
        "an operator's key",
        &good.replace("VAULT CREDENTIALS", "OPERATOR KEY"),
    );
    add(false, "a letter that is not base64", &good.replacen("\nC", "\n*", 1));
    let changed = |change: &dyn Fn(&mut Credentials)| {
        let changed = with(credentials.clone(), |it| change(it));
        text(&changed.encode_to_vec())
    };
    add(false, "no admission", &changed(&|it| it.admission = None));
    add(
        false,
        "another operator's key",
        &changed(&|it| it.operator_key = public(9)),
    );
    add(
        false,
        "31 bytes of operator's key",
        &changed(&|it| it.operator_key = public(1).slice(..31)),
    );
    add(
        false,
        "the secret of another key",
        &changed(&|it| it.admission_secret = vec![3; 32].into()),
    );
    add(false, "no secret", &changed(&|it| it.admission_secret = Bytes::new()));
    let longer = [&credentials.encode_to_vec()[..], &[0x80, 0x08, 1]].concat();
    add(false, "a field 128", &text(&longer));
    let of = |change: &dyn Fn(&mut Admission)| {
        let admission = with(admission.clone(), |it| change(it)).encode_to_vec();
        changed(&|it| it.admission = Some(admitted(1, admission.clone())))
    };
    add(true, "for the secondary region", &of(&|it| it.region = 2));
    add(false, "for region 3", &of(&|it| it.region = 3));
    add(false, "for region 0", &of(&|it| it.region = 0));
    add(
        false,
        "an id of 15 bytes",
        &of(&|it| it.credential_id = vec![0x22; 15].into()),
    );
    add(
        false,
        "a vault of 17 bytes",
        &of(&|it| it.vault_id = vec![0x11; 17].into()),
    );
    let field = [&admission.encode_to_vec()[..], &[0x40, 1]].concat();
    add(
        false,
        "an admission with an unknown field",
        &changed(&|it| it.admission = Some(admitted(1, field.clone()))),
    );
    let by_another = admitted(9, admission.encode_to_vec());
    add(
        false,
        "an admission that another signed",
        &changed(&|it| it.admission = Some(by_another.clone())),
    );
}
