/* llama.cpp's ready-built ARM libraries, run as smolq bench runs a model: REPETITIONS times, PROMPT tokens in one pass and then
 * GENERATED ones in a pass each, with one thread. No header of it is needed: the layouts are those of llama.cpp 0.5.0, and defaults
 * are checked, so that another version is noticed.
 *
 *   llamacpp FOLDER LEVEL MODEL PROMPT GENERATED REPETITIONS */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct model_params { uint64_t words[32]; };
struct context_params {
    uint32_t n_ctx, n_batch, n_ubatch, n_seq_max, n_rs_seq, n_outputs_max, n_outputs_max_per_seq;
    int32_t n_threads, n_threads_batch, ctx_type, rope_scaling, pooling, attention, flash_attn;
    float rope[6];
    uint32_t yarn_ctx;
    float defrag;
    void *eval_callback, *eval_data;
    int32_t type_k, type_v;
    void *abort_callback, *abort_data;
    bool flags[6];
    void *samplers;
    size_t n_samplers;
    void *other;
};
struct batch { int32_t n_tokens; void *arrays[6]; };

static void *llama;

static void fail(const char *what, const char *which) {
    fprintf(stderr, "error: %s %s\n", what, which);
    exit(1);
}

static void *library(const char *folder, const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    void *opened = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (!opened) fail(path, dlerror());
    return opened;
}

static void *function(void *from, const char *name) {
    void *found = dlsym(from, name);
    if (!found) fail("no function", name);
    return found;
}

static void quiet(int level, const char *text, void *data) { (void)level, (void)text, (void)data; }

int main(int argc, char **argv) {
    if (argc != 7) fail("usage: llamacpp", "FOLDER LEVEL MODEL PROMPT GENERATED REPETITIONS");
    const char *folder = argv[1];
    int prompt = atoi(argv[4]), generated = atoi(argv[5]), repetitions = atoi(argv[6]);
    library(folder, "libggml-base.so");
    void *ggml = library(folder, "libggml.v0.5.0.so");
    llama = library(folder, "libllama.v0.5.0.so");
    ((void (*)(void *, void *))function(llama, "llama_log_set"))(quiet, NULL);
    ((void (*)(void))function(llama, "llama_backend_init"))();
    char code[4096];
    snprintf(code, sizeof code, "%s/libggml-cpu-%s.so", folder, argv[2]);
    if (!((void *(*)(const char *))function(ggml, "ggml_backend_load"))(code)) fail("this CPU cannot run the level", argv[2]);
    struct model_params with = ((struct model_params (*)(void))function(llama, "llama_model_default_params"))();
    void *model = ((void *(*)(const char *, struct model_params))function(llama, "llama_model_load_from_file"))(argv[3], with);
    if (!model) fail("llama.cpp does not load", argv[3]);
    struct context_params params = ((struct context_params (*)(void))function(llama, "llama_context_default_params"))();
    if (params.n_ctx != 512 || params.n_ubatch != 512 || params.type_k != 1 || params.flash_attn != -1)
        fail("this version lays out its parameters otherwise:", folder);
    params.n_threads = params.n_threads_batch = 1;
    void *context = ((void *(*)(void *, struct context_params))function(llama, "llama_init_from_model"))(model, params);
    if (!context) fail("llama.cpp makes no context for", argv[3]);
    void *memory = ((void *(*)(void *))function(llama, "llama_get_memory"))(context);
    void (*clear)(void *, bool) = (void (*)(void *, bool))function(llama, "llama_memory_clear");
    struct batch (*one)(int32_t *, int32_t) = (struct batch (*)(int32_t *, int32_t))function(llama, "llama_batch_get_one");
    int (*decode)(void *, struct batch) = (int (*)(void *, struct batch))function(llama, "llama_decode");
    int32_t tokens[512];
    for (int i = 0; i < 512; i++) tokens[i] = 17 + 31 * i % 977;
    for (int r = 0; r < repetitions; r++) {
        clear(memory, true);
        if (prompt && decode(context, one(tokens, prompt))) fail("llama.cpp does not decode", "the prompt");
        for (int i = 0; i < generated; i++)
            if (decode(context, one(tokens + prompt + i, 1))) fail("llama.cpp does not decode", "a token");
    }
    return 0;
}
