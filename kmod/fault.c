// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Faults by rule: /sys/kernel/config/nvlab/NAME/faults/RULE/. The core decides
 * which command a rule hits; here is what users write, and what the core's
 * decisions mean for a controller.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/slab.h>

#include "nvlab.h"
#include "trace.h"

/**
 * struct nvl_fault - a rule
 * @item: its directory
 * @device: whose it is
 * @slot: its place in the core
 * @enabled: whether the core has it, or will when the power goes on
 * @rule: what it says
 */
struct nvl_fault {
	struct config_item item;
	struct nvl_device *device;
	u32 slot;
	bool enabled;
	struct nvc_rule rule;
};

/* A value by name. */
struct nvl_word {
	const char *name;
	u16 value;
};

static const struct nvl_word nvl_opcodes[] = {
	{ "any", NVC_ANY_OPCODE },
	{ "flush", NVC_FLUSH },
	{ "write", NVC_WRITE },
	{ "read", NVC_READ },
	{ "write-zeroes", NVC_WRITE_ZEROES },
	{ "dsm", NVC_DSM },
	{ "write-uncorrectable", NVC_WRITE_UNCOR },
	{ "compare", NVC_COMPARE },
	{ "verify", NVC_VERIFY },
	{ "copy", NVC_COPY },
	{}
};

static const struct nvl_word nvl_actions[] = {
	{ "status", NVC_FAIL },
	{ "delay", NVC_DELAY },
	{ "drop", NVC_DROP },
	{ "corrupt", NVC_CORRUPT },
	{ "fatal", NVC_FATAL },
	{ "read-only", NVC_READ_ONLY },
	{ "link-loss", NVC_UNPLUG },
	{}
};

static struct nvl_fault *to_nvl_fault(struct config_item *item)
{
	return container_of(item, struct nvl_fault, item);
}

static int nvl_word_read(const struct nvl_word *words, const char *text, u16 *value)
{
	for (; words->name; words++) {
		if (!sysfs_streq(words->name, text))
			continue;
		*value = words->value;
		return 0;
	}
	return -EINVAL;
}

static ssize_t nvl_word_show(const struct nvl_word *words, u16 value, char *page)
{
	for (; words->name; words++)
		if (words->value == value)
			return sysfs_emit(page, "%s\n", words->name);
	return sysfs_emit(page, "0x%x\n", value);
}

static int nvl_rule_opcode(struct nvc_rule *rule, const char *text)
{
	u8 number;
	int err = nvl_word_read(nvl_opcodes, text, &rule->opcode);

	if (!err)
		return 0;
	err = kstrtou8(text, 0, &number);
	if (!err)
		rule->opcode = number;
	return err;
}

static int nvl_rule_action(struct nvc_rule *rule, const char *text)
{
	return nvl_word_read(nvl_actions, text, &rule->fault);
}

static int nvl_rule_slba(struct nvc_rule *rule, const char *text)
{
	return kstrtou64(text, 0, &rule->slba);
}

static int nvl_rule_nlb(struct nvc_rule *rule, const char *text)
{
	return kstrtou64(text, 0, &rule->nlb);
}

static int nvl_rule_delay(struct nvc_rule *rule, const char *text)
{
	return kstrtou64(text, 0, &rule->delay);
}

static int nvl_rule_count(struct nvc_rule *rule, const char *text)
{
	return kstrtou32(text, 0, &rule->count);
}

static int nvl_rule_every(struct nvc_rule *rule, const char *text)
{
	return kstrtou32(text, 0, &rule->every);
}

static int nvl_rule_chance(struct nvc_rule *rule, const char *text)
{
	return kstrtou32(text, 0, &rule->chance);
}

static int nvl_rule_nsid(struct nvc_rule *rule, const char *text)
{
	return kstrtou32(text, 0, &rule->nsid);
}

static int nvl_rule_queue(struct nvc_rule *rule, const char *text)
{
	return kstrtou16(text, 0, &rule->qid);
}

static int nvl_rule_controller(struct nvc_rule *rule, const char *text)
{
	return kstrtou32(text, 0, &rule->ctrl);
}

static int nvl_rule_status(struct nvc_rule *rule, const char *text)
{
	return kstrtou16(text, 0, &rule->status);
}

/* A rule is changed while it is off, and checked as a whole when it goes on. */
static ssize_t nvl_rule_store(struct config_item *item, const char *page, size_t count,
			      int (*set)(struct nvc_rule *rule, const char *text))
{
	struct nvl_fault *fault = to_nvl_fault(item);
	int err = -EBUSY;

	mutex_lock(&fault->device->lock);
	if (!fault->enabled)
		err = set(&fault->rule, page);
	mutex_unlock(&fault->device->lock);
	return err ?: count;
}

#define NVL_RULE(_name, _text)								\
static ssize_t nvl_rule_##_name##_show(struct config_item *item, char *page)		\
{											\
	const struct nvc_rule *rule = &to_nvl_fault(item)->rule;			\
											\
	return _text;									\
}											\
											\
static ssize_t nvl_rule_##_name##_store(struct config_item *item, const char *page,	\
					size_t count)					\
{											\
	return nvl_rule_store(item, page, count, nvl_rule_##_name);			\
}											\
CONFIGFS_ATTR(nvl_rule_, _name)

NVL_RULE(action, nvl_word_show(nvl_actions, rule->fault, page));
NVL_RULE(opcode, nvl_word_show(nvl_opcodes, rule->opcode, page));
NVL_RULE(nsid, sysfs_emit(page, "%u\n", rule->nsid));
NVL_RULE(slba, sysfs_emit(page, "%llu\n", rule->slba));
NVL_RULE(nlb, sysfs_emit(page, "%llu\n", rule->nlb));
NVL_RULE(queue, sysfs_emit(page, "%u\n", rule->qid));
NVL_RULE(controller, sysfs_emit(page, "%u\n", rule->ctrl));
NVL_RULE(count, sysfs_emit(page, "%u\n", rule->count));
NVL_RULE(every, sysfs_emit(page, "%u\n", rule->every));
NVL_RULE(chance, sysfs_emit(page, "%u\n", rule->chance));
NVL_RULE(status, sysfs_emit(page, "0x%x\n", rule->status));
NVL_RULE(delay, sysfs_emit(page, "%llu\n", rule->delay));

static int nvl_fault_switch(struct nvl_fault *fault, bool on)
{
	const struct nvc_rule *rule = on ? &fault->rule : NULL;
	struct nvl_subsys *subsys = fault->device->subsys;
	int err = nvc_check_rule(&fault->rule);

	if (on && err)
		return err;
	if (subsys && on != fault->enabled)
		err = nvl_core_rule(subsys, fault->slot, rule);
	else
		err = 0;
	if (!err)
		fault->enabled = on;
	return err;
}

static ssize_t nvl_rule_enable_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%d\n", READ_ONCE(to_nvl_fault(item)->enabled));
}

static ssize_t nvl_rule_enable_store(struct config_item *item, const char *page, size_t count)
{
	struct nvl_fault *fault = to_nvl_fault(item);
	bool on;
	int err = kstrtobool(page, &on);

	if (err)
		return err;
	mutex_lock(&fault->device->lock);
	err = nvl_fault_switch(fault, on);
	mutex_unlock(&fault->device->lock);
	return err ?: count;
}
CONFIGFS_ATTR(nvl_rule_, enable);

static ssize_t nvl_rule_hits_show(struct config_item *item, char *page)
{
	struct nvl_fault *fault = to_nvl_fault(item);
	struct nvl_subsys *subsys;
	u64 hits = 0;

	mutex_lock(&fault->device->lock);
	subsys = fault->device->subsys;
	if (subsys) {
		spin_lock(&subsys->core_lock);
		hits = nvc_rule_hits(subsys->core, fault->slot);
		spin_unlock(&subsys->core_lock);
	}
	mutex_unlock(&fault->device->lock);
	return sysfs_emit(page, "%llu\n", hits);
}
CONFIGFS_ATTR_RO(nvl_rule_, hits);

static struct configfs_attribute *nvl_fault_attrs[] = {
	&nvl_rule_attr_action,
	&nvl_rule_attr_opcode,
	&nvl_rule_attr_nsid,
	&nvl_rule_attr_slba,
	&nvl_rule_attr_nlb,
	&nvl_rule_attr_queue,
	&nvl_rule_attr_controller,
	&nvl_rule_attr_count,
	&nvl_rule_attr_every,
	&nvl_rule_attr_chance,
	&nvl_rule_attr_status,
	&nvl_rule_attr_delay,
	&nvl_rule_attr_enable,
	&nvl_rule_attr_hits,
	NULL,
};

static void nvl_fault_release(struct config_item *item)
{
	kfree(to_nvl_fault(item));
}

static struct configfs_item_operations nvl_fault_ops = {
	.release	= nvl_fault_release,
};

static const struct config_item_type nvl_fault_type = {
	.ct_item_ops	= &nvl_fault_ops,
	.ct_attrs	= nvl_fault_attrs,
	.ct_owner	= THIS_MODULE,
};

static int nvl_fault_take_slot(struct nvl_fault *fault)
{
	struct nvl_device *device = fault->device;
	int err = -ENOSPC;
	u32 slot;

	mutex_lock(&device->lock);
	for (slot = 0; slot < NVC_MAX_RULES && device->rules[slot]; slot++)
		;
	if (slot < NVC_MAX_RULES) {
		fault->slot = slot;
		device->rules[slot] = fault;
		err = 0;
	}
	mutex_unlock(&device->lock);
	return err;
}

static struct config_item *nvl_fault_make(struct config_group *group, const char *name)
{
	struct nvl_fault *fault;
	int err;

	fault = kzalloc(sizeof(*fault), GFP_KERNEL);
	if (!fault)
		return ERR_PTR(-ENOMEM);
	fault->device = container_of(group, struct nvl_device, faults);
	fault->rule.fault = NVC_FAIL;
	fault->rule.opcode = NVC_ANY_OPCODE;
	fault->rule.every = 1;
	fault->rule.chance = NVC_MILLION;
	err = nvl_fault_take_slot(fault);
	if (err) {
		kfree(fault);
		return ERR_PTR(err);
	}
	config_item_init_type_name(&fault->item, name, &nvl_fault_type);
	return &fault->item;
}

static void nvl_fault_drop(struct config_group *group, struct config_item *item)
{
	struct nvl_fault *fault = to_nvl_fault(item);

	mutex_lock(&fault->device->lock);
	nvl_fault_switch(fault, false);
	fault->device->rules[fault->slot] = NULL;
	mutex_unlock(&fault->device->lock);
	config_item_put(item);
}

static struct configfs_group_operations nvl_faults_ops = {
	.make_item	= nvl_fault_make,
	.drop_item	= nvl_fault_drop,
};

static const struct config_item_type nvl_faults_type = {
	.ct_group_ops	= &nvl_faults_ops,
	.ct_owner	= THIS_MODULE,
};

/**
 * nvl_faults_init() - give a device a directory for rules
 * @device: the device, its own directory set up but not yet seen
 */
void nvl_faults_init(struct nvl_device *device)
{
	config_group_init_type_name(&device->faults, "faults", &nvl_faults_type);
	configfs_add_default_group(&device->faults, &device->group);
}

/**
 * nvl_faults_arm() - give a new core the rules that are enabled
 * @subsys: the subsystem
 * @device: whose rules, locked
 *
 * Return: 0, -EINVAL, or -ERANGE.
 */
int nvl_faults_arm(struct nvl_subsys *subsys, struct nvl_device *device)
{
	int err = 0;
	u32 slot;

	for (slot = 0; slot < NVC_MAX_RULES && !err; slot++) {
		struct nvl_fault *fault = device->rules[slot];

		if (fault && fault->enabled)
			err = nvl_core_rule(subsys, slot, &fault->rule);
	}
	return err;
}

/**
 * nvl_fault_lose() - the command in hand is lost, and maybe more
 * @w: the worker, locked
 * @sq: where the command came from
 * @fault: bits of enum nvc_fault
 */
void nvl_fault_lose(struct nvl_worker *w, struct nvl_sq *sq, u16 fault)
{
	struct nvl_ctrl *ctrl = w->ctrl;

	nvl_worker_lose(w, sq);
	if (fault & NVC_FATAL)
		set_bit(NVL_TROUBLE_FATAL, &ctrl->trouble);
	if (fault & NVC_UNPLUG)
		set_bit(NVL_TROUBLE_UNPLUG, &ctrl->trouble);
	if (fault & (NVC_FATAL | NVC_UNPLUG))
		nvl_control_kick(ctrl);
}
