// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a drive holds, as a file: first struct nvc_snapshot, then the core's image,
 * then, from a multiple of 4 KiB on, the storage. While the power is off all of it
 * can be read, and all can be written: what the core makes of an image it says when
 * the power goes on. While it is on it can be read, and commands wait.
 */
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "state.h"

/* How long commands wait for a reader: hosts give up after 30 s. */
#define NVL_PAUSE_NS	(20 * NSEC_PER_SEC)

/*
 * Commands that were fetched have been decided and copied when this returns; those
 * that come wait in their queues, but not until hosts lose their patience.
 */
static void nvl_state_pause(struct nvl_subsys *subsys)
{
	WRITE_ONCE(subsys->paused, ktime_get_ns() + NVL_PAUSE_NS);
	mutex_lock(&subsys->admin_lock);
	nvl_freeze(subsys);
	nvl_thaw(subsys);
	mutex_unlock(&subsys->admin_lock);
}

static int nvl_state_begin(struct nvl_state *state, fmode_t mode)
{
	if (!state->subsys || state->users || (state->live && mode & FMODE_WRITE))
		return -EBUSY;
	/* not hidden yet: misc_open() keeps misc_deregister() out */
	kref_get(&state->ref);
	state->users++;
	if (state->live)
		nvl_state_pause(state->subsys);
	/* whoever enters the core from here on is found out when it is read */
	state->seq = nvc_seq(state->subsys->core);
	nvc_freeze(state->subsys->core, &state->header);
	state->image = state->header.size;
	state->loaded = 0;
	return 0;
}

static int nvl_state_fopen(struct inode *inode, struct file *file)
{
	struct nvl_state *state = container_of(file->private_data, struct nvl_state, misc);
	int err;

	mutex_lock(&state->lock);
	err = nvl_state_begin(state, file->f_mode);
	mutex_unlock(&state->lock);
	file->private_data = state;
	return err;
}

static int nvl_state_frelease(struct inode *inode, struct file *file)
{
	struct nvl_state *state = file->private_data;

	mutex_lock(&state->lock);
	state->users--;
	if (state->subsys)
		WRITE_ONCE(state->subsys->paused, 0);
	mutex_unlock(&state->lock);
	nvl_state_put(state);
	return 0;
}

/* Where the storage begins, and ends, in the file. */
static u64 nvl_state_storage(const struct nvl_state *state)
{
	return ALIGN(nvl_state_image() + state->image, PAGE_SIZE);
}

static u64 nvl_state_end(const struct nvl_state *state)
{
	return nvl_state_storage(state) + state->subsys->capacity;
}

/* What is never held as data reads as zeros, whatever the memory holds. */
static void nvl_state_read_storage(struct nvl_subsys *subsys, u64 offset, u8 *to, u32 len)
{
	u32 part;

	for (; len; len -= part, offset += part, to += part) {
		const u8 *at;
		bool written;
		u64 run = nvc_stretch(subsys->core, offset / SZ_512,
				      DIV_ROUND_UP(offset % SZ_512 + len, SZ_512), &written);

		part = min_t(u64, len, run * SZ_512 - offset % SZ_512);
		at = nvl_store_at(subsys, offset, &part); /* says how much */
		if (written)
			memcpy(to, at, part);
		else
			memset(to, 0, part);
	}
}

/* Cuts @len to what lies in one part of the file. */
static void nvl_state_read_part(struct nvl_state *state, u64 pos, u32 *len)
{
	struct nvl_subsys *subsys = state->subsys;
	u64 storage = nvl_state_storage(state);

	if (pos < nvl_state_image()) {
		*len = min_t(u64, *len, nvl_state_image() - pos);
		memcpy(state->piece, (u8 *)&state->header + pos, *len);
	} else if (pos < storage) {
		*len = min_t(u64, *len, storage - pos);
		memset(state->piece, 0, *len);
		nvc_save(subsys->core, pos - nvl_state_image(), state->piece, *len);
	} else {
		nvl_state_read_storage(subsys, pos - storage, state->piece, *len);
	}
}

/* Whatever changes what the drive holds is an input of the core first. */
static int nvl_state_read_piece(struct nvl_state *state, u64 pos, u32 *len)
{
	struct nvl_subsys *subsys = state->subsys;
	int err = -ESTALE;

	spin_lock(&subsys->core_lock);
	if (nvc_seq(subsys->core) == state->seq) {
		nvl_state_read_part(state, pos, len);
		err = 0;
	}
	spin_unlock(&subsys->core_lock);
	return err;
}

static ssize_t nvl_state_read_locked(struct nvl_state *state, char __user *buf, size_t count,
				     loff_t *pos)
{
	u64 end = nvl_state_end(state);
	size_t done = 0;
	u32 len;
	int err;

	for (; done < count && *pos < end && !fatal_signal_pending(current); done += len) {
		len = min3((u64)NVL_STATE_PIECE, (u64)(count - done), end - *pos);
		err = nvl_state_read_piece(state, *pos, &len);
		if (err)
			return done ?: err;
		if (copy_to_user(buf + done, state->piece, len))
			return done ?: -EFAULT;
		*pos += len;
		cond_resched();
	}
	return done;
}

static ssize_t nvl_state_read(struct file *file, char __user *buf, size_t count, loff_t *pos)
{
	struct nvl_state *state = file->private_data;
	ssize_t done = -EBUSY;

	mutex_lock(&state->lock);
	if (state->subsys)
		done = nvl_state_read_locked(state, buf, count, pos);
	mutex_unlock(&state->lock);
	return done;
}

/*
 * An image may have no storage with it: what it says is written reads as zeros then,
 * unless the memory is said to hold it.
 */
static int nvl_state_clear(struct nvl_subsys *subsys)
{
	u64 offset;
	u32 len;

	for (offset = 0; offset < subsys->capacity; offset += len) {
		u8 *at;

		len = min_t(u64, SZ_2M, subsys->capacity - offset);
		at = nvl_store_at(subsys, offset, &len); /* says how much */
		memset(at, 0, len);
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

/* Header and image are written from the first byte on, without gaps. */
static int nvl_state_write_image(struct nvl_state *state, u64 pos, u32 *len)
{
	struct nvl_subsys *subsys = state->subsys;
	int err = 0;

	if (pos != state->loaded)
		return -ESPIPE;
	if (!pos && !subsys->set->keep)
		err = nvl_state_clear(subsys);
	if (err)
		return err;
	if (pos < nvl_state_image()) {
		*len = min_t(u64, *len, nvl_state_image() - pos);
		memcpy((u8 *)&state->header + pos, state->piece, *len);
		if (pos + *len == nvl_state_image())
			err = nvc_fits(subsys->core, &state->header);
	} else {
		*len = min_t(u64, *len, nvl_state_storage(state) - pos);
		nvc_load(subsys->core, pos - nvl_state_image(), state->piece, *len);
	}
	if (err)
		return err;
	state->loaded = pos + *len;
	state->raw = true;
	return 0;
}

static int nvl_state_write_piece(struct nvl_state *state, u64 pos, u32 *len)
{
	u64 storage = nvl_state_storage(state);
	u8 *at;

	if (pos < storage)
		return nvl_state_write_image(state, pos, len);
	at = nvl_store_at(state->subsys, pos - storage, len); /* says how much */
	memcpy(at, state->piece, *len);
	return 0;
}

static ssize_t nvl_state_write_locked(struct nvl_state *state, const char __user *buf,
				      size_t count, loff_t *pos)
{
	u64 end = nvl_state_end(state);
	size_t done = 0;
	u32 len;
	int err;

	for (; done < count && !fatal_signal_pending(current); done += len) {
		if (*pos >= end)
			return done ?: -ENOSPC;
		len = min3((u64)NVL_STATE_PIECE, (u64)(count - done), end - *pos);
		if (copy_from_user(state->piece, buf + done, len))
			return done ?: -EFAULT;
		err = nvl_state_write_piece(state, *pos, &len);
		if (err)
			return done ?: err;
		*pos += len;
		cond_resched();
	}
	return done;
}

static ssize_t nvl_state_write(struct file *file, const char __user *buf, size_t count,
			       loff_t *pos)
{
	struct nvl_state *state = file->private_data;
	ssize_t done = -EBUSY;

	mutex_lock(&state->lock);
	if (state->subsys)
		done = nvl_state_write_locked(state, buf, count, pos);
	mutex_unlock(&state->lock);
	return done;
}

static loff_t nvl_state_seek(struct file *file, loff_t offset, int whence)
{
	struct nvl_state *state = file->private_data;
	loff_t at = -EBUSY;

	mutex_lock(&state->lock);
	if (state->subsys)
		at = fixed_size_llseek(file, offset, whence, nvl_state_end(state));
	mutex_unlock(&state->lock);
	return at;
}

const struct file_operations nvl_state_fops = {
	.owner		= THIS_MODULE,
	.open		= nvl_state_fopen,
	.release	= nvl_state_frelease,
	.read		= nvl_state_read,
	.write		= nvl_state_write,
	.llseek		= nvl_state_seek,
};
