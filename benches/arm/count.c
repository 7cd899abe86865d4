/* A plugin of QEMU that counts executed instructions: exact with one thread, and the same in every run.
 *
 * Debian's qemu-user runs plugins but comes without their header; these are the parts of its interface, version 1, that counting
 * needs.  gcc -O2 -shared -fPIC count.c -o count.so;  qemu-aarch64 -plugin ./count.so,out=FILE PROGRAM writes the number to FILE. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct block;
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct block *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct block *, int operation, void *counter, uint64_t by);
extern void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
extern size_t qemu_plugin_tb_n_insns(const struct block *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;
static uint64_t executed;
static const char *file;

static void translated(plugin_id id, struct block *block) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(block, 0 /* add */, &executed, qemu_plugin_tb_n_insns(block));
}

static void done(plugin_id id, void *data) {
    (void)id, (void)data;
    FILE *out = file ? fopen(file, "w") : stderr;
    if (!out) return;
    fprintf(out, "%llu\n", (unsigned long long)executed);
    if (file) fclose(out);
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    (void)info;
    for (int i = 0; i < argc; i++)
        if (!strncmp(argv[i], "out=", 4)) file = strdup(argv[i] + 4);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, done, NULL);
    return 0;
}
