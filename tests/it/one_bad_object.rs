//! The table of docs/reliability.md from the program: each class of object, with each fault, in each command. One
//! object is harmed at a time. A command ends with the exit code of the table, names the object where the table says
//! so, and does all of its other work.
//!
//! A missing, short or flipped object is one in the vault's folder. EIO and EACCES come from the system, by strace, on
//! this one file only: root may read every file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::lab::{Lab, Ran, finish, noise, replace};
use crate::support::strace::{failing_to_open, strace_works};
use crate::support::tree::{assert_same, file};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Descriptor,
    Registration,
    Slot,
    Log,
    Segment,
    DataPack,
    TreePack,
    Job,
}

const CLASSES: [Class; 8] = [
    Class::Descriptor,
    Class::Registration,
    Class::Slot,
    Class::Log,
    Class::Segment,
    Class::DataPack,
    Class::TreePack,
    Class::Job,
];

impl Class {
    /// Whether something in a recovery point is lost with it.
    fn costs(self) -> bool {
        matches!(self, Self::Log | Self::Segment | Self::DataPack | Self::TreePack)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    Missing,
    Short,
    Flipped,
    /// The system answers so whenever the object is opened.
    Failing(&'static str),
}

/// Two servers of one domain. The objects of the first one are harmed, and the second one does the work.
struct Bench {
    lab: Lab,
    objects: BTreeMap<&'static str, PathBuf>,
    /// The points: of the first server, and of the second.
    points: [String; 2],
    runs: std::cell::Cell<u32>,
}

fn of_kind(lab: &Lab, folder: &str) -> Vec<PathBuf> {
    let objects = lab.objects().into_iter();
    objects.filter(|path| path.to_string_lossy().contains(folder)).collect()
}

impl Bench {
    fn new() -> Bench {
        let lab = Lab::new();
        // Files that do not compress: the middle of a pack is in a frame.
        for number in 0..10 {
            file(&lab.source().join(format!("folder/{number}")), &noise(number, 20_000));
        }
        let one = lab.backup()["point"].as_str().unwrap().to_owned();
        let mut packs = of_kind(&lab, "/packs/");
        packs.sort_by_key(|path| fs::metadata(path).unwrap().len());
        let registration = of_kind(&lab, "registration").remove(0);
        let slots = of_kind(&lab, "/keys/");
        let first = |folder: &str| of_kind(&lab, folder).remove(0);
        // The entry that commits the point, and the records of its job.
        let log = of_kind(&lab, "/log/").pop().unwrap();
        let job = of_kind(&lab, "/jobs/").pop().unwrap();
        let objects = BTreeMap::from([
            ("Descriptor", lab.vault().join("lockstone.json")),
            ("Registration", registration),
            ("Log", log),
            ("Segment", first("/segments/")),
            ("DataPack", packs.pop().unwrap()),
            ("TreePack", packs.remove(0)),
            ("Job", job),
        ]);
        lab.register("two", "other", &["--join-domain", "server"]).exits(0);
        // A slot that neither the second server nor its passphrase needs: the machine slot of the first.
        let machine = slots.into_iter().find(|slot| is_machine_slot(&lab, slot)).unwrap();
        let mut bench = Bench {
            lab,
            objects,
            points: [one, String::new()],
            runs: std::cell::Cell::new(0),
        };
        bench.objects.insert("Slot", machine);
        file(&bench.other().join("other"), b"of the other server");
        let two = bench.two(&["backup", "--json", bench.other().to_str().unwrap()], None);
        bench.points[1] = two.exits(0).json()["point"].as_str().unwrap().to_owned();
        bench
    }

    fn other(&self) -> PathBuf {
        self.lab.path("other")
    }

    fn object(&self, class: Class) -> &Path {
        &self.objects[format!("{class:?}").as_str()]
    }

    /// Runs the program as the second server. `failing`: an object, and what the system answers when it is opened.
    fn two(&self, args: &[&str], failing: Option<(&Path, &str)>) -> Ran {
        let mut command = self.lab.command("two");
        command.args(args);
        if let Some((object, errno)) = failing {
            command = failing_to_open(&command, &[object], errno);
        }
        finish(command)
    }

    /// A new folder to restore to.
    fn target(&self) -> PathBuf {
        self.runs.set(self.runs.get() + 1);
        self.lab.path(format!("out-{}", self.runs.get()))
    }
}

/// The machine slot of the first server is the one without which it cannot work by its key.
fn is_machine_slot(lab: &Lab, slot: &Path) -> bool {
    let whole = fs::read(slot).unwrap();
    fs::remove_file(slot).unwrap();
    let mut command = lab.command("home");
    command.env_remove("LOCKSTONE_PASSPHRASE").args(["points", "list"]);
    let opens = finish(command).code == Some(0);
    fs::write(slot, whole).unwrap();
    !opens
}

/// One row of the table with one fault: list, restore, check and backup, in this order, and the object put back.
fn cell(bench: &Bench, class: Class, harm: Harm) {
    let what = format!("{class:?} {harm:?}");
    let object = bench.object(class).to_owned();
    let name = object
        .strip_prefix(bench.lab.vault())
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let whole = fs::read(&object).unwrap();
    match harm {
        Harm::Missing => fs::remove_file(&object).unwrap(),
        Harm::Short => replace(&object, &whole[..whole.len() / 2]),
        Harm::Flipped => {
            let mut flipped = whole.clone();
            flipped[whole.len() / 2] ^= 1;
            replace(&object, &flipped);
        }
        Harm::Failing(_) => {}
    }
    let failing = match harm {
        Harm::Failing(errno) => Some((object.as_path(), errno)),
        _ => None,
    };
    // As a machine that knows nothing yet.
    let fresh = || drop(fs::remove_dir_all(bench.lab.path("two/cache")));
    let [one, two] = &bench.points;

    fresh();
    let list = bench.two(&["points", "list", "--json"], failing);
    let code = match class {
        Class::Log | Class::Registration => 6,
        Class::Segment => 3,
        _ => 0,
    };
    assert_eq!(list.code, Some(code), "list: {what}\n{}\n{}", list.stdout, list.stderr);
    let names = code != 0 || class == Class::Descriptor;
    assert_eq!(list.stderr.contains(&name), names, "list: {what}\n{}", list.stderr);
    let listed: Vec<Value> = list.json()["points"].as_array().unwrap().clone();
    let has = |id: &str| listed.iter().any(|point| point["id"] == id);
    assert_eq!(
        (has(one), has(two)),
        (class != Class::Log, true),
        "list: {what}: {listed:?}"
    );

    fresh();
    restore(bench, class, failing, &what);

    fresh();
    let check = bench.two(&["check", "--read-data", "--json"], failing);
    // What names nothing else is not missed.
    let unnoticed = harm == Harm::Missing && matches!(class, Class::Slot | Class::Job);
    let code = if unnoticed { 0 } else { 6 };
    assert_eq!(
        check.code,
        Some(code),
        "check: {what}\n{}\n{}",
        check.stdout,
        check.stderr
    );
    let report = check.json();
    let damaged = report["damaged"].as_array().unwrap();
    let named = damaged.iter().any(|damage| damage["object"] == name.as_str());
    assert_eq!(named, !unnoticed, "check: {what}: {report}");
    assert_eq!(report["points"], listed.len(), "check: {what}: {report}");

    let backup = bench.two(&["backup", "--json", bench.other().to_str().unwrap()], failing);
    assert_eq!(
        backup.code,
        Some(0),
        "backup: {what}\n{}\n{}",
        backup.stdout,
        backup.stderr
    );
    let point = backup.json()["point"].as_str().unwrap().to_owned();

    // What the backup wrote restores on a machine that knows nothing, with the object as it is.
    fresh();
    let target = bench.target();
    let args = ["restore", &point, "--target", target.to_str().unwrap()];
    let restored = bench.two(&args, failing);
    assert_eq!(
        restored.code,
        Some(0),
        "restore of the backup: {what}\n{}",
        restored.stderr
    );
    assert_same(&bench.other(), &below(&target, &bench.other()));

    let _ = fs::remove_file(&object);
    fs::write(&object, whole).unwrap();
    fs::remove_dir_all(target).unwrap();
}

fn below(target: &Path, path: &Path) -> PathBuf {
    target.join(path.strip_prefix("/").unwrap())
}

fn restore(bench: &Bench, class: Class, failing: Option<(&Path, &str)>, what: &str) {
    let [one, two] = &bench.points;
    for (point, source, costs) in [(one, bench.lab.source(), class.costs()), (two, bench.other(), false)] {
        let target = bench.target();
        let args = ["restore", point, "--json", "--target", target.to_str().unwrap()];
        let ran = bench.two(&args, failing);
        let code = if costs { 6 } else { 0 };
        assert_eq!(ran.code, Some(code), "restore: {what}\n{}\n{}", ran.stdout, ran.stderr);
        match class {
            _ if !costs => assert_same(&source, &below(&target, &source)),
            Class::Log => {}
            // It names a file or a folder that it could not restore.
            _ => assert!(ran.stdout.contains("folder"), "restore: {what}\n{}", ran.stdout),
        }
        let _ = fs::remove_dir_all(target);
    }
}

fn row(class: Class) {
    let bench = Bench::new();
    let mut harms = vec![Harm::Missing, Harm::Short, Harm::Flipped];
    if strace_works() {
        harms.extend([Harm::Failing("EIO"), Harm::Failing("EACCES")]);
    }
    for harm in harms {
        cell(&bench, class, harm);
    }
    // With every object in its place again, nothing is wrong.
    let _ = fs::remove_dir_all(bench.lab.path("two/cache"));
    let report = bench.two(&["check", "--read-data", "--json"], None).exits(0).json();
    assert_eq!(report["damaged"], Value::Array(Vec::new()), "{class:?}: {report}");
}

#[test]
fn one_bad_descriptor_registration_slot_or_job_record_costs_no_point() {
    for class in CLASSES.into_iter().filter(|class| !class.costs()) {
        row(class);
    }
}

#[test]
fn one_bad_log_entry_costs_what_it_held() {
    row(Class::Log);
}

#[test]
fn one_bad_segment_costs_what_only_it_listed() {
    row(Class::Segment);
}

#[test]
fn one_bad_pack_costs_what_it_held() {
    row(Class::DataPack);
    row(Class::TreePack);
}
