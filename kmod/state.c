// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a drive holds while its power is off: /dev/nvlab-state-NAME. First struct
 * nvc_snapshot, then the core's image, then, from a multiple of 4 KiB on, the
 * storage. All of it can be read, and all can be written: what the core makes of
 * an image it says when the power goes on.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "nvlab.h"

/* The most that is copied at a time. */
#define NVL_STATE_PIECE	SZ_64K

/**
 * struct nvl_state - the door to what a drive holds
 * @ref: the subsystem's, and each opener's
 * @misc: the device node
 * @name: of the device node
 * @lock: held to read or write, and to turn the power on or off
 * @subsys: the subsystem; NULL while the power is on, and when it is gone
 * @users: open files
 * @header: of the image, as it was when it was opened, or as it was written
 * @image: bytes of the image
 * @loaded: bytes of header and image that were written, from the first on
 * @piece: on its way
 */
struct nvl_state {
	struct kref ref;
	struct miscdevice misc;
	char name[NVL_NAME_MAX + 16];
	struct mutex lock;	/* everything below */
	struct nvl_subsys *subsys;
	unsigned int users;
	struct nvc_snapshot header;
	u64 image;
	u64 loaded;
	u8 *piece;
};

static void nvl_state_destroy(struct kref *ref)
{
	struct nvl_state *state = container_of(ref, struct nvl_state, ref);

	kvfree(state->piece);
	kfree(state);
}

static int nvl_state_fopen(struct inode *inode, struct file *file)
{
	struct nvl_state *state = container_of(file->private_data, struct nvl_state, misc);
	int err = -EBUSY;

	mutex_lock(&state->lock);
	if (state->subsys && !state->users) {
		/* not hidden yet: misc_open() keeps misc_deregister() out */
		kref_get(&state->ref);
		state->users++;
		nvc_freeze(state->subsys->core, &state->header);
		state->image = state->header.size;
		state->loaded = 0;
		err = 0;
	}
	mutex_unlock(&state->lock);
	file->private_data = state;
	return err;
}

static int nvl_state_frelease(struct inode *inode, struct file *file)
{
	struct nvl_state *state = file->private_data;

	mutex_lock(&state->lock);
	state->users--;
	mutex_unlock(&state->lock);
	kref_put(&state->ref, nvl_state_destroy);
	return 0;
}

/* Where the image begins and ends, and where the storage begins, in the file. */
static u64 nvl_state_image(void)
{
	return sizeof(struct nvc_snapshot);
}

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
		bool written;
		u64 run = nvc_stretch(subsys->core, offset / SZ_512,
				      DIV_ROUND_UP(offset % SZ_512 + len, SZ_512), &written);

		const u8 *at;

		part = min_t(u64, len, run * SZ_512 - offset % SZ_512);
		at = nvl_store_at(subsys, offset, &part); /* says how much */
		if (written)
			memcpy(to, at, part);
		else
			memset(to, 0, part);
	}
}

/* Cuts @len to what lies in one part of the file. */
static void nvl_state_read_piece(struct nvl_state *state, u64 pos, u32 *len)
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

static ssize_t nvl_state_read_locked(struct nvl_state *state, char __user *buf, size_t count,
				     loff_t *pos)
{
	u64 end = nvl_state_end(state);
	size_t done = 0;
	u32 len;

	for (; done < count && *pos < end && !fatal_signal_pending(current); done += len) {
		len = min3((u64)NVL_STATE_PIECE, (u64)(count - done), end - *pos);
		nvl_state_read_piece(state, *pos, &len);
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

/* An image may have no storage with it: what it says is written reads as zeros then. */
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
	if (!pos)
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
	if (!err)
		state->loaded = pos + *len;
	return err;
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

static const struct file_operations nvl_state_fops = {
	.owner		= THIS_MODULE,
	.open		= nvl_state_fopen,
	.release	= nvl_state_frelease,
	.read		= nvl_state_read,
	.write		= nvl_state_write,
	.llseek		= nvl_state_seek,
};

static int nvl_state_register(struct nvl_state *state)
{
	state->misc.minor = MISC_DYNAMIC_MINOR;
	state->misc.name = state->name;
	state->misc.fops = &nvl_state_fops;
	state->misc.mode = 0600;
	return misc_register(&state->misc);
}

/**
 * nvl_state_show() - let others in
 * @subsys: the subsystem, its power off
 *
 * Return: 0 or an errno.
 */
int nvl_state_show(struct nvl_subsys *subsys)
{
	struct nvl_state *state;
	int err;

	state = kzalloc(sizeof(*state), GFP_KERNEL);
	if (!state)
		return -ENOMEM;
	kref_init(&state->ref);
	mutex_init(&state->lock);
	state->subsys = subsys;
	snprintf(state->name, sizeof(state->name), "nvlab-state-%s", subsys->name);
	state->piece = kvmalloc(NVL_STATE_PIECE, GFP_KERNEL);
	err = state->piece ? nvl_state_register(state) : -ENOMEM;
	if (err)
		kref_put(&state->ref, nvl_state_destroy);
	else
		subsys->state = state;
	return err;
}

/**
 * nvl_state_hide() - undo nvl_state_show()
 * @subsys: the subsystem, its power off
 */
void nvl_state_hide(struct nvl_subsys *subsys)
{
	struct nvl_state *state = subsys->state;

	mutex_lock(&state->lock);
	state->subsys = NULL;
	mutex_unlock(&state->lock);
	misc_deregister(&state->misc);
	kref_put(&state->ref, nvl_state_destroy);
}

/**
 * nvl_state_enter() - about to tell the core something, with the power on or off
 * @subsys: the subsystem
 *
 * Return: 0, or -EBUSY (somebody has its state open, or has written one).
 */
int nvl_state_enter(struct nvl_subsys *subsys)
{
	struct nvl_state *state = subsys->state;

	if (!state)
		return 0;
	mutex_lock(&state->lock);
	if (!state->subsys || (!state->users && !state->loaded))
		return 0;
	mutex_unlock(&state->lock);
	return -EBUSY;
}

/**
 * nvl_state_leave() - undo nvl_state_enter()
 * @subsys: the subsystem
 */
void nvl_state_leave(struct nvl_subsys *subsys)
{
	if (subsys->state)
		mutex_unlock(&subsys->state->lock);
}

/* What was written becomes the state of the core, if it can be one. */
static int nvl_state_take(struct nvl_state *state)
{
	struct nvl_subsys *subsys = state->subsys;
	int err = -EBADMSG;

	if (!state->loaded)
		return 0;
	if (state->loaded >= nvl_state_image() + state->image)
		err = nvc_thaw(subsys->core, &state->header);
	if (err)
		pr_err("%s: what was written to %s is no state of this device, or not all of it\n",
		       subsys->name, state->name);
	else
		subsys->ran = true;
	state->loaded = 0;
	return err;
}

/**
 * nvl_state_close() - the power goes on: nobody else may see or change anything
 * @subsys: the subsystem
 *
 * Return: 0, -EBUSY (somebody has it open), or -EBADMSG (what was written is no
 * state of this device, and the subsystem is to be made anew).
 */
int nvl_state_close(struct nvl_subsys *subsys)
{
	struct nvl_state *state = subsys->state;
	int err = -EBUSY;

	mutex_lock(&state->lock);
	if (!state->users)
		err = nvl_state_take(state);
	if (!err)
		state->subsys = NULL;
	mutex_unlock(&state->lock);
	return err;
}

/**
 * nvl_state_open() - the power is off: undo nvl_state_close()
 * @subsys: the subsystem
 */
void nvl_state_open(struct nvl_subsys *subsys)
{
	struct nvl_state *state = subsys->state;

	mutex_lock(&state->lock);
	state->subsys = subsys;
	mutex_unlock(&state->lock);
}
