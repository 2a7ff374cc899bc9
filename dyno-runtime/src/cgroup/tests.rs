//! On made-up hierarchies in a temporary directory. The real ones are in `tests/`.

use super::*;

const HYBRID: &str = "9:name=systemd:/\n8:pids:/\n4:memory:/box/7\n1:cpu,cpuacct:/\n0::/\n";

fn hybrid() -> tempfile::TempDir {
    let mount = tempfile::tempdir().unwrap();
    for directory in ["pids", "memory/box/7", "cpu", "unified"] {
        fs::create_dir_all(mount.path().join(directory)).unwrap();
    }
    fs::write(mount.path().join("unified/cgroup.procs"), "").unwrap();
    mount
}

/// Makes the leaf as the kernel would: with its files.
fn fill(leaf: &Path, files: &[(&str, &str)]) {
    fs::create_dir_all(leaf).unwrap();
    for (file, content) in files {
        fs::write(leaf.join(file), content).unwrap();
    }
}

#[test]
fn a_group_is_below_our_own_one_in_each_hierarchy() {
    let mount = hybrid();
    let site = Site::detect(mount.path(), HYBRID, "here").unwrap();
    let group = site.plan("shop.web.1.7");
    let files = |own: &str| {
        let name = if own == "unified" { "cgroup.procs" } else { "tasks" };
        mount.path().join(own).join("busbar/here/shop.web.1.7").join(name)
    };
    assert_eq!(group.control().join_files(Role::Init), ["unified", "pids", "cpu"].map(files));
    assert_eq!(group.control().join_files(Role::App), ["unified", "pids", "cpu", "memory/box/7"].map(files));
}

#[test]
fn a_machine_without_control_groups_says_so() {
    let mount = tempfile::tempdir().unwrap();
    assert!(matches!(Site::detect(mount.path(), HYBRID, "here"), Err(CgroupError::None(_))));
}

#[test]
fn v1_limits_are_written_memory_before_memory_and_swap() {
    let mount = hybrid();
    let memory = mount.path().join("memory/box/7/busbar/here/leaf");
    fill(&memory, &[("memory.limit_in_bytes", ""), ("memory.memsw.limit_in_bytes", "")]);
    let cpu = [("cpu.shares", ""), ("cpu.cfs_period_us", ""), ("cpu.cfs_quota_us", "")];
    fill(&mount.path().join("cpu/busbar/here/leaf"), &cpu);
    fill(&mount.path().join("pids/busbar/here/leaf"), &[("pids.max", "")]);
    let group = Site::detect(mount.path(), HYBRID, "here").unwrap().plan("leaf");
    let limits = Limits {
        memory: Some(1 << 20),
        cpu_shares: Some(512),
        cpu_millis: Some(1500),
        pids: Some(64),
        disk_rate: None,
    };
    group.control().create(&limits).unwrap();
    for file in ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"] {
        assert_eq!(fs::read_to_string(memory.join(file)).unwrap(), "2097152", "twice the quota");
    }
    assert_eq!(fs::read_to_string(mount.path().join("pids/busbar/here/leaf/pids.max")).unwrap(), "64");
    assert_eq!(fs::read_to_string(mount.path().join("cpu/busbar/here/leaf/cpu.shares")).unwrap(), "512");
    assert_eq!(
        fs::read_to_string(mount.path().join("cpu/busbar/here/leaf/cpu.cfs_quota_us")).unwrap(),
        "150000"
    );
}

#[test]
fn a_file_that_refuses_is_named_with_the_deed_and_advice() {
    let mount = hybrid();
    let group = Site::detect(mount.path(), HYBRID, "here").unwrap().plan("leaf");
    let refused =
        group.control().create(&Limits { pids: Some(1), ..Limits::default() }).unwrap_err().to_string();
    assert!(refused.starts_with("cannot write to ") && refused.contains("leaf/pids.max"), "{refused}");
    assert!(refused.ends_with("enable the controller, or mount its hierarchy"), "{refused}");
}

#[test]
fn a_limit_without_its_controller_is_refused() {
    let mount = tempfile::tempdir().unwrap();
    fs::create_dir_all(mount.path().join("pids")).unwrap();
    let group = Site::detect(mount.path(), "8:pids:/\n", "here").unwrap().plan("leaf");
    let refused = group.control().create(&Limits { memory: Some(1), ..Limits::default() });
    assert!(matches!(refused, Err(CgroupError::NoController("memory"))));
}

#[test]
fn members_of_groups_below_count_and_a_group_that_is_gone_has_none() {
    let mount = hybrid();
    let group = Site::detect(mount.path(), HYBRID, "here").unwrap().plan("leaf");
    assert_eq!(group.control().members().unwrap(), []);
    let leaf = mount.path().join("unified/busbar/here/leaf");
    fill(&leaf, &[("cgroup.procs", "12\n11\n")]);
    fill(&leaf.join("below"), &[("cgroup.procs", "10\n")]);
    let raw: Vec<i32> = group.control().members().unwrap().iter().map(|pid| pid.as_raw_pid()).collect();
    assert_eq!(raw, [10, 11, 12]);
}

#[test]
fn v2_hands_its_controllers_down_and_limits() {
    let mount = tempfile::tempdir().unwrap();
    let own = mount.path().join("system.slice/busbar.service");
    let control = [("cgroup.controllers", "cpu io memory pids\n"), ("cgroup.subtree_control", "")];
    fill(mount.path(), &control);
    for group in [&own, &own.join("busbar"), &own.join("busbar/here")] {
        fill(group, &control);
    }
    let leaf = own.join("busbar/here/leaf");
    fill(&leaf, &[("cpu.weight", ""), ("cpu.max", ""), ("pids.max", "")]);
    fill(&leaf, &control);
    fill(&leaf.join("app"), &[("memory.max", ""), ("memory.oom.group", "")]);
    let site = Site::detect(mount.path(), "0::/system.slice/busbar.service\n", "here").unwrap();
    site.prepare().unwrap();
    assert_eq!(fs::read_to_string(own.join("cgroup.subtree_control")).unwrap(), "+memory +cpu +pids +io");
    let limits = Limits {
        memory: Some(4096),
        cpu_shares: Some(1024),
        cpu_millis: Some(200),
        pids: Some(9),
        disk_rate: None,
    };
    let group = site.plan("leaf");
    group.control().create(&limits).unwrap();
    let read = |file| fs::read_to_string(leaf.join(file)).unwrap();
    assert_eq!(
        [
            "app/memory.max",
            "app/memory.oom.group",
            "cpu.weight",
            "cpu.max",
            "pids.max",
            "cgroup.subtree_control"
        ]
        .map(read),
        ["8192", "1", "39", "20000 100000", "9", "+memory"]
    );
    assert_eq!(group.control().join_files(Role::Init), [leaf.join("init/cgroup.procs")]);
    assert_eq!(group.control().join_files(Role::App), [leaf.join("app/cgroup.procs")]);
}

#[test]
fn v2_refuses_to_go_below_what_is_in_use_because_the_kernel_would_kill() {
    let mount = tempfile::tempdir().unwrap();
    fill(mount.path(), &[("cgroup.controllers", "memory")]);
    let group = Site::detect(mount.path(), "0::/\n", "here").unwrap().plan("leaf");
    let app = mount.path().join("busbar/here/leaf/app");
    fill(&app, &[("memory.stat", "anon 5000\n"), ("memory.max", "max"), ("memory.oom.group", "0")]);
    let memory = |bytes| Limits { memory: Some(bytes), ..Limits::default() };
    let refused = group.control().update(&memory(2000));
    assert!(matches!(refused, Err(CgroupError::MemoryInUse { limit: 4000, .. })), "{refused:?}");
    assert_eq!(fs::read_to_string(app.join("memory.max")).unwrap(), "max");
    group.control().update(&memory(3000)).unwrap();
    assert_eq!(fs::read_to_string(app.join("memory.max")).unwrap(), "6000");
}

#[test]
fn oom_kills_and_memory_are_read_in_both_versions() {
    let mount = hybrid();
    let group = Site::detect(mount.path(), HYBRID, "here").unwrap().plan("leaf");
    let memory = mount.path().join("memory/box/7/busbar/here/leaf");
    let oom = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
    fill(&memory, &[("memory.oom_control", oom), ("memory.stat", "total_rss 42\n")]);
    assert_eq!((group.control().oom_kills(), group.control().memory().unwrap().rss), (3, 42));

    let v2 = tempfile::tempdir().unwrap();
    fill(v2.path(), &[("cgroup.controllers", "memory")]);
    let group = Site::detect(v2.path(), "0::/\n", "here").unwrap().plan("leaf");
    fill(
        &v2.path().join("busbar/here/leaf/app"),
        &[("memory.events", "oom 5\noom_kill 2\n"), ("memory.stat", "anon 7\n")],
    );
    assert_eq!((group.control().oom_kills(), group.control().memory().unwrap().rss), (2, 7));
}
