//! What is known of Ganeti's RPC procedures: one table of names, client timeout classes and
//! effects.
//!
//! The names are those of the node daemon's handlers in Ganeti 2.8 to 3.1.1
//! (`lib/server/noded.py`). The timeout classes are those of the clients (`src/Ganeti/Types.hs` and
//! `lib/rpc_defs.py`, 3.0.2). The table gives metric labels from a closed list and sorts requests
//! into lanes. It never forbids anything: a procedure that is not in it is forwarded as well.

use std::time::Duration;

use crate::names::Named;

/// How long a client waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// 60 s.
    Urgent,
    /// 300 s.
    Fast,
    /// 900 s.
    Normal,
    /// 3,600 s.
    Slow,
    /// 14,400 s.
    FourHours,
    /// 86,400 s.
    OneDay,
    /// Chosen by an argument of the call (`test_delay`).
    Argument,
}

impl Timeout {
    /// The time after which the client gives up. A day if only the arguments of the call say it.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::Urgent => 60,
            Self::Fast => 300,
            Self::Normal => 900,
            Self::Slow => 3_600,
            Self::FourHours => 14_400,
            Self::OneDay | Self::Argument => 86_400,
        })
    }
}

/// What a procedure does to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Reads only.
    ReadOnly,
    /// Changes state.
    Mutating,
    /// Can run programs of the caller's choosing, overwrites files that Ganeti or root trusts, or
    /// destroys data, a node or a role.
    Dangerous,
}

/// One RPC procedure of the node daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Procedure {
    /// The path without its slash, and the metric label.
    pub name: &'static str,
    /// The client's patience.
    pub timeout: Timeout,
    /// What it does.
    pub effect: Effect,
}

/// A procedure as metrics name it: one of the table, or any other one. What a client asks for never
/// becomes a label as it comes, or a client could make as many series as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(Option<&'static Procedure>);

impl Named for Label {
    fn all() -> impl Iterator<Item = Self> {
        let known = TABLE.iter().map(|procedure| Self(Some(procedure)));
        known.chain([Self(None)])
    }

    fn name(&self) -> &'static str {
        self.0.map_or("other", |procedure| procedure.name)
    }
}

/// Looks a procedure up by name.
pub fn find(name: &str) -> Option<&'static Procedure> {
    TABLE
        .binary_search_by(|row| row.name.cmp(name))
        .ok()
        .map(|at| &TABLE[at])
}

/// The metric label of a procedure.
pub fn label(name: &str) -> Label {
    Label(find(name))
}

use Effect::{Dangerous, Mutating, ReadOnly};
use Timeout::{Argument, Fast, FourHours, Normal, OneDay, Slow, Urgent};

const fn row(name: &'static str, timeout: Timeout, effect: Effect) -> Procedure {
    Procedure {
        name,
        timeout,
        effect,
    }
}

/// All known procedures, sorted by name.
#[rustfmt::skip]
pub const TABLE: &[Procedure] = &[
    row("accept_instance", Normal, Dangerous),
    row("all_instances_info", Urgent, ReadOnly),
    row("bdev_sizes", Urgent, ReadOnly),
    row("blockdev_addchildren", Normal, Mutating),
    row("blockdev_assemble", Normal, Mutating),
    row("blockdev_close", Normal, Mutating),
    row("blockdev_convert", Slow, Dangerous),
    row("blockdev_create", Normal, Mutating),
    row("blockdev_export", Slow, Dangerous),
    row("blockdev_find", Normal, ReadOnly),
    row("blockdev_getdimensions", Normal, ReadOnly),
    row("blockdev_getmirrorstatus", Normal, ReadOnly),
    row("blockdev_getmirrorstatus_multi", Normal, ReadOnly),
    row("blockdev_getsize", Urgent, ReadOnly),
    row("blockdev_grow", Normal, Mutating),
    row("blockdev_image", Slow, Dangerous),
    row("blockdev_open", Normal, Mutating),
    row("blockdev_pause_resume_sync", Normal, Mutating),
    row("blockdev_remove", Normal, Dangerous),
    row("blockdev_removechildren", Normal, Mutating),
    row("blockdev_rename", Normal, Mutating),
    row("blockdev_setinfo", Normal, Mutating),
    row("blockdev_shutdown", Normal, Mutating),
    row("blockdev_snapshot", Normal, Mutating),
    row("blockdev_wipe", Slow, Dangerous),
    row("bridges_exist", Urgent, ReadOnly),
    row("drbd_attach_net", Normal, Mutating),
    row("drbd_disconnect_net", Normal, Mutating),
    row("drbd_helper", Urgent, ReadOnly),
    row("drbd_needs_activation", Normal, ReadOnly),
    row("drbd_wait_sync", Slow, ReadOnly),
    row("etc_hosts_modify", Normal, Dangerous),
    row("export_info", Fast, ReadOnly),
    row("export_list", Fast, ReadOnly),
    row("export_remove", Fast, Dangerous),
    row("export_start", Normal, Dangerous),
    row("extstorage_diagnose", Fast, ReadOnly),
    row("file_storage_dir_create", Fast, Mutating),
    row("file_storage_dir_remove", Fast, Dangerous),
    row("file_storage_dir_rename", Fast, Mutating),
    row("finalize_export", Normal, Mutating),
    row("get_file_info", Fast, ReadOnly),
    row("get_watcher_pause", Urgent, ReadOnly),
    row("hooks_runner", Normal, Dangerous),
    row("hotplug_device", Normal, Dangerous),
    row("hotplug_supported", Normal, ReadOnly),
    row("hypervisor_validate_params", Normal, ReadOnly),
    row("iallocator_runner", Normal, Dangerous),
    row("impexp_abort", Normal, Mutating),
    row("impexp_cleanup", Normal, Mutating),
    row("impexp_status", Fast, ReadOnly),
    row("import_start", Normal, Dangerous),
    row("instance_balloon_memory", Normal, Mutating),
    row("instance_console_info", Urgent, ReadOnly),
    row("instance_finalize_migration_dst", Normal, Mutating),
    row("instance_finalize_migration_src", Slow, Mutating),
    row("instance_get_migration_status", Slow, ReadOnly),
    row("instance_info", Urgent, ReadOnly),
    row("instance_list", Urgent, ReadOnly),
    row("instance_metadata_modify", Urgent, Mutating),
    row("instance_migratable", Normal, ReadOnly),
    row("instance_migrate", Slow, Mutating),
    row("instance_os_add", OneDay, Dangerous),
    row("instance_reboot", Normal, Dangerous),
    row("instance_run_rename", Slow, Dangerous),
    row("instance_shutdown", Normal, Mutating),
    row("instance_start", Normal, Dangerous),
    row("jobqueue_purge", Normal, Dangerous),
    row("jobqueue_rename", Urgent, Dangerous),
    row("jobqueue_set_drain_flag", Urgent, Mutating),
    row("jobqueue_update", Urgent, Dangerous),
    row("lv_list", Urgent, ReadOnly),
    row("master_info", Urgent, ReadOnly),
    row("master_node_name", Urgent, ReadOnly),
    row("migration_info", Normal, ReadOnly),
    row("node_activate_master_ip", Fast, Mutating),
    row("node_change_master_netmask", Fast, Mutating),
    row("node_configure_ovs", Normal, Mutating),
    row("node_crypto_tokens", Slow, ReadOnly),
    row("node_deactivate_master_ip", Fast, Mutating),
    row("node_demote_from_mc", Fast, Dangerous),
    row("node_ensure_daemon", Urgent, Mutating),
    row("node_has_ip_address", Fast, ReadOnly),
    row("node_info", Urgent, ReadOnly),
    row("node_leave_cluster", Normal, Dangerous),
    row("node_powercycle", Normal, Dangerous),
    row("node_ssh_key_add", Fast, Dangerous),
    row("node_ssh_key_remove", Fast, Dangerous),
    row("node_ssh_keys_renew", FourHours, Dangerous),
    row("node_start_master_daemons", Fast, Dangerous),
    row("node_stop_master", Fast, Dangerous),
    row("node_verify", Normal, ReadOnly),
    row("node_verify_light", Normal, ReadOnly),
    row("node_volumes", Fast, ReadOnly),
    row("os_diagnose", Fast, ReadOnly),
    row("os_export", Fast, Mutating),
    row("os_get", Fast, ReadOnly),
    row("os_validate", Fast, Dangerous),
    row("resize_disk", Normal, Mutating),
    row("restricted_command", Slow, Dangerous),
    row("run_oob", Normal, Dangerous),
    row("set_watcher_pause", Urgent, Mutating),
    row("storage_execute", Normal, Mutating),
    row("storage_list", Normal, ReadOnly),
    row("storage_modify", Normal, Mutating),
    row("test_delay", Argument, ReadOnly),
    row("upload_file", Normal, Dangerous),
    row("upload_file_single", Normal, Dangerous),
    row("version", Urgent, ReadOnly),
    row("vg_list", Urgent, ReadOnly),
    row("write_ssconf_files", Normal, Dangerous),
    row("x509_cert_create", Normal, Mutating),
    row("x509_cert_remove", Normal, Mutating),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_without_repeats() {
        assert!(TABLE.windows(2).all(|two| two[0].name < two[1].name));
    }

    #[test]
    fn names_are_found_and_strangers_share_one_label() {
        assert_eq!(find("version").map(|p| p.timeout), Some(Urgent));
        assert_eq!(
            find("instance_os_add").map(|p| p.timeout.duration().as_secs()),
            Some(86_400)
        );
        assert_eq!(find("run_oob").map(|p| p.effect), Some(Dangerous));
        let names = ["node_info", "no_such_method", "", "other"].map(|name| label(name).name());
        assert_eq!(names, ["node_info", "other", "other", "other"]);
    }
}
