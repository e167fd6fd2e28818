// SPDX-License-Identifier: GPL-2.0-or-later
/* What was counted: of a device in configfs, of each worker in debugfs. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/debugfs.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/seq_file.h>

#include "nvlab.h"
#include "trace.h"

static struct dentry *nvl_debug;

/* A counter of a worker; the device's is the sum, or the worst of all. */
struct nvl_stat {
	const char *name;
	size_t offset;
	bool worst;
};

#define NVL_STAT(_name)	{ #_name, offsetof(struct nvl_worker_stats, _name) }

static const struct nvl_stat nvl_stats[] = {
	NVL_STAT(commands),
	NVL_STAT(errors),
	NVL_STAT(timed),
	NVL_STAT(late),
	NVL_STAT(lateness),
	{ "worst", offsetof(struct nvl_worker_stats, worst), true },
	NVL_STAT(passes),
	NVL_STAT(sleeps),
	NVL_STAT(gaps),
	NVL_STAT(lost),
	NVL_STAT(interrupts),
};

static u64 nvl_stat_of(const struct nvl_worker *w, const struct nvl_stat *stat)
{
	return READ_ONCE(*(const u64 *)((const char *)&w->stats + stat->offset));
}

static u64 nvl_stat_join(const struct nvl_stat *stat, u64 all, u64 one)
{
	return stat->worst ? max(all, one) : all + one;
}

static u64 nvl_stat_ctrl(const struct nvl_ctrl *ctrl, const struct nvl_stat *stat)
{
	u64 all = 0;
	unsigned int i;

	for (i = 0; i < ctrl->nr_workers; i++)
		all = nvl_stat_join(stat, all, nvl_stat_of(&ctrl->workers[i], stat));
	return all;
}

static u64 nvl_stat_all(const struct nvl_subsys *subsys, const struct nvl_stat *stat)
{
	u64 all = 0;
	unsigned int i;

	for (i = 0; subsys->on && i < subsys->nr_ctrls; i++)
		all = nvl_stat_join(stat, all, nvl_stat_ctrl(subsys->ctrls[i], stat));
	return all;
}

static u64 nvl_slow_all(const struct nvl_subsys *subsys)
{
	u64 all = 0;
	unsigned int i;

	for (i = 0; subsys->on && i < subsys->nr_ctrls; i++)
		all += atomic64_read(&subsys->ctrls[i]->slow);
	return all;
}

static ssize_t nvl_stats_core(struct nvl_subsys *subsys, char *page)
{
	struct nvc_counters c;

	spin_lock(&subsys->core_lock);
	nvc_count(subsys->core, &c);
	spin_unlock(&subsys->core_lock);
	return sysfs_emit(page,
			  "reads %llu\nwrites %llu\nflushes %llu\nzeroes %llu\ndsms %llu\n"
			  "blocks_read %llu\nblocks_written %llu\nblocks_zeroed %llu\n"
			  "blocks_deallocated %llu\nbytes_read %llu\nbytes_written %llu\nfaults %llu\n"
			  "uncorrectables %llu\ncompares %llu\nverifies %llu\ncopies %llu\n"
			  "blocks_copied %llu\nmedia_errors %llu\nbusy %llu\n"
			  "appends %llu\nzone_sends %llu\nzone_receives %llu\n"
			  "zone_changes %llu\nstores %llu\nretrieves %llu\ndeletes %llu\n"
			  "lists %llu\nexists %llu\nio_sends %llu\nio_receives %llu\n",
			  c.reads, c.writes, c.flushes, c.zeroes, c.dsms, c.blocks_read,
			  c.blocks_written, c.blocks_zeroed, c.blocks_deallocated, c.bytes_read,
			  c.bytes_written, c.faults,
			  c.uncorrectables, c.compares, c.verifies, c.copies,
			  c.blocks_copied, c.media_errors, c.busy, c.appends, c.zone_sends,
			  c.zone_receives, c.zone_changes, c.stores, c.retrieves, c.deletes,
			  c.lists, c.exists, c.io_sends, c.io_receives);
}

struct nvl_account {
	const char *name;
	size_t offset;
};

#define NVL_ACCOUNT(_name) { #_name, offsetof(struct nvc_ssd_stats, _name) }

static const struct nvl_account nvl_accounts[] = {
	NVL_ACCOUNT(host_units),
	NVL_ACCOUNT(gc_units),
	NVL_ACCOUNT(pad_units),
	NVL_ACCOUNT(programmed_units),
	NVL_ACCOUNT(open_units),
	NVL_ACCOUNT(programs),
	NVL_ACCOUNT(erases),
	NVL_ACCOUNT(senses),
	NVL_ACCOUNT(merge_reads),
	NVL_ACCOUNT(buffer_hits),
	NVL_ACCOUNT(victims),
	NVL_ACCOUNT(wear_victims),
	NVL_ACCOUNT(mapped_units),
	NVL_ACCOUNT(units),
	NVL_ACCOUNT(lines),
	NVL_ACCOUNT(free_lines),
	NVL_ACCOUNT(open_lines),
	NVL_ACCOUNT(closed_lines),
	NVL_ACCOUNT(retired_lines),
	NVL_ACCOUNT(line_units),
	NVL_ACCOUNT(usable_units),
	NVL_ACCOUNT(bad_blocks),
	NVL_ACCOUNT(least_erases),
	NVL_ACCOUNT(most_erases),
	NVL_ACCOUNT(power_cuts),
	NVL_ACCOUNT(lost_units),
	NVL_ACCOUNT(read_only),
	NVL_ACCOUNT(discarded_units),
	NVL_ACCOUNT(zones),
	NVL_ACCOUNT(active_zones),
	NVL_ACCOUNT(open_zones),
	NVL_ACCOUNT(zone_erases),
	NVL_ACCOUNT(keys),
	NVL_ACCOUNT(value_units),
	NVL_ACCOUNT(value_bytes),
	NVL_ACCOUNT(erased_units),
	NVL_ACCOUNT(disturb_victims),
	NVL_ACCOUNT(retention_victims),
	NVL_ACCOUNT(map_hits),
	NVL_ACCOUNT(map_misses),
	NVL_ACCOUNT(map_reads),
	NVL_ACCOUNT(map_units),
	NVL_ACCOUNT(map_moved),
};

/**
 * nvl_waf() - write amplification
 * @stats: accounts of an SSD
 *
 * Return: units written for hosts, for the drive itself and for nothing over those for
 * hosts, in thousandths; 0 before the first of these.
 */
u64 nvl_waf(const struct nvc_ssd_stats *stats)
{
	u64 all = stats->host_units + stats->gc_units + stats->pad_units + stats->map_units;

	return stats->host_units ? div64_u64(all * 1000, stats->host_units) : 0;
}

/* What an SSD has done since its power went on. */
static ssize_t nvl_stats_ssd(struct nvl_subsys *subsys, char *page, ssize_t len)
{
	struct nvc_ssd_stats stats;
	ssize_t start = len;
	int i;

	BUILD_BUG_ON(ARRAY_SIZE(nvl_accounts) * sizeof(u64) != sizeof(stats));
	nvl_core_stats(subsys, &stats);
	for (i = 0; i < ARRAY_SIZE(nvl_accounts); i++)
		len += sysfs_emit_at(page, len, "%s %llu\n", nvl_accounts[i].name,
				     *(u64 *)((u8 *)&stats + nvl_accounts[i].offset));
	len += sysfs_emit_at(page, len, "waf %llu\n", nvl_waf(&stats));
	return len - start;
}

/**
 * nvl_device_stats() - what a device has done since its power went on
 * @device: the device, locked
 * @page: for lines of a name and a number; empty if the power is off
 *
 * Return: bytes.
 */
ssize_t nvl_device_stats(struct nvl_device *device, char *page)
{
	struct nvl_subsys *subsys = device->subsys;
	ssize_t len;
	int i;

	if (!subsys)
		return 0;
	len = nvl_stats_core(subsys, page);
	for (i = 0; i < ARRAY_SIZE(nvl_stats); i++)
		len += sysfs_emit_at(page, len, "%s %llu\n", nvl_stats[i].name,
				     nvl_stat_all(subsys, &nvl_stats[i]));
	len += sysfs_emit_at(page, len, "slow_poll %llu\n", nvl_slow_all(subsys));
	if (nvl_has_flash(subsys->set))
		len += nvl_stats_ssd(subsys, page, len);
	return len;
}

static int nvl_worker_stats_show(struct seq_file *file, void *unused)
{
	const struct nvl_worker *w = file->private;
	int i;

	for (i = 0; i < ARRAY_SIZE(nvl_stats); i++)
		seq_printf(file, "%s %llu\n", nvl_stats[i].name, nvl_stat_of(w, &nvl_stats[i]));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(nvl_worker_stats);

/**
 * nvl_stats_add() - show what the workers of a controller count
 * @ctrl: the controller
 */
void nvl_stats_add(struct nvl_ctrl *ctrl)
{
	unsigned int i;
	char name[16];

	ctrl->debug = debugfs_create_dir(ctrl->name, nvl_debug);
	for (i = 0; i < ctrl->nr_workers; i++) {
		struct nvl_worker *w = &ctrl->workers[i];

		snprintf(name, sizeof(name), "cpu%u", w->cpu);
		debugfs_create_file(name, 0444, ctrl->debug, w, &nvl_worker_stats_fops);
	}
}

/**
 * nvl_stats_del() - undo nvl_stats_add(); on return nobody reads any more
 * @ctrl: the controller
 */
void nvl_stats_del(struct nvl_ctrl *ctrl)
{
	debugfs_remove_recursive(ctrl->debug);
}

/**
 * nvl_stats_init() - make the directory of all controllers; debugfs may be missing
 */
void nvl_stats_init(void)
{
	nvl_debug = debugfs_create_dir("nvlab", NULL);
}

/**
 * nvl_stats_exit() - undo nvl_stats_init()
 */
void nvl_stats_exit(void)
{
	debugfs_remove_recursive(nvl_debug);
}
