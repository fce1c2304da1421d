/* The bare client beside the RabbitMQ rows: rabbitmq-c publishes one message again and again.
 *
 * Usage: rabbitmq_publish HOST PORT USER PASSWORD VHOST QUEUE SECONDS WINDOW MESSAGE BODY
 *
 * WINDOW 0: no confirms; 1: waits for each; more: as many may be unconfirmed. MESSAGE is a file of
 * lines "kind TAB name TAB value": kind p is a property, s a string among the headers, n null, b a
 * boolean, i an integer, l a list of nulls (value: how many), t an empty table. BODY is a file.
 * Prints messages a second.
 */
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_HEADERS = 64, MOST_NULLS = 8 };

static amqp_table_entry_t headers[MOST_HEADERS];
static amqp_field_value_t nulls[MOST_NULLS];
static amqp_basic_properties_t properties;

static void fail(const char *what) {
    fprintf(stderr, "rabbitmq_publish: %s\n", what);
    exit(1);
}

static void check(amqp_rpc_reply_t reply, const char *what) {
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) fail(what);
}

static double now_s(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static amqp_bytes_t copied(const char *text) { return amqp_bytes_malloc_dup(amqp_cstring_bytes(text)); }

static void set_property(const char *name, const char *value) {
    struct { const char *name; amqp_bytes_t *place; amqp_flags_t flag; } known[] = {
        {"content_type", &properties.content_type, AMQP_BASIC_CONTENT_TYPE_FLAG},
        {"content_encoding", &properties.content_encoding, AMQP_BASIC_CONTENT_ENCODING_FLAG},
        {"correlation_id", &properties.correlation_id, AMQP_BASIC_CORRELATION_ID_FLAG},
        {"reply_to", &properties.reply_to, AMQP_BASIC_REPLY_TO_FLAG},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i].name) == 0) {
            *known[i].place = copied(value);
            properties._flags |= known[i].flag;
            return;
        }
    }
    if (strcmp(name, "delivery_mode") == 0) {
        properties.delivery_mode = (uint8_t)atoi(value);
        properties._flags |= AMQP_BASIC_DELIVERY_MODE_FLAG;
    } else if (strcmp(name, "priority") == 0) {
        properties.priority = (uint8_t)atoi(value);
        properties._flags |= AMQP_BASIC_PRIORITY_FLAG;
    } else {
        fail("a property nobody knows");
    }
}

static amqp_field_value_t valued(char kind, const char *value) {
    amqp_field_value_t field = {.kind = AMQP_FIELD_KIND_VOID};
    switch (kind) {
    case 'n': break;
    case 's': field.kind = AMQP_FIELD_KIND_UTF8; field.value.bytes = copied(value); break;
    case 'b': field.kind = AMQP_FIELD_KIND_BOOLEAN; field.value.boolean = atoi(value); break;
    case 'i': field.kind = AMQP_FIELD_KIND_I32; field.value.i32 = atoi(value); break;
    case 't': field.kind = AMQP_FIELD_KIND_TABLE; break;
    case 'l':
        field.kind = AMQP_FIELD_KIND_ARRAY;
        field.value.array.num_entries = atoi(value);
        field.value.array.entries = nulls;
        break;
    default: fail("a kind of header nobody knows");
    }
    return field;
}

static void read_message(const char *path) {
    char line[4096];
    FILE *file = fopen(path, "r");
    if (!file) fail("no MESSAGE");
    for (int i = 0; i < MOST_NULLS; i++) nulls[i].kind = AMQP_FIELD_KIND_VOID;
    properties.headers.entries = headers;
    properties._flags = AMQP_BASIC_HEADERS_FLAG;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *name = strchr(line, '\t');
        char *value = name ? strchr(name + 1, '\t') : NULL;
        if (!value || properties.headers.num_entries == MOST_HEADERS) fail("a MESSAGE nobody understands");
        *name++ = 0;
        *value++ = 0;
        if (*line == 'p') {
            set_property(name, value);
        } else {
            amqp_table_entry_t *entry = &headers[properties.headers.num_entries++];
            entry->key = copied(name);
            entry->value = valued(*line, value);
        }
    }
    fclose(file);
}

static amqp_bytes_t read_body(const char *path) {
    static char body[1 << 20];
    FILE *file = fopen(path, "rb");
    if (!file) fail("no BODY");
    amqp_bytes_t bytes = {.len = fread(body, 1, sizeof body, file), .bytes = body};
    fclose(file);
    return bytes;
}

/* Acks may come out of order: one byte says of each message whether its has come. */
static char *acked;
static uint64_t acked_count, acked_all_up_to;

static void wait_for_ack(amqp_connection_state_t connection) {
    amqp_frame_t frame;
    if (amqp_simple_wait_frame(connection, &frame) != AMQP_STATUS_OK) fail("the connection ended");
    if (frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != AMQP_BASIC_ACK_METHOD)
        fail("the server answered with something else than an ack");
    amqp_basic_ack_t *ack = frame.payload.method.decoded;
    uint64_t from = ack->multiple ? acked_all_up_to + 1 : ack->delivery_tag;
    for (uint64_t tag = from; tag <= ack->delivery_tag; tag++) {
        acked_count += !acked[tag];
        acked[tag] = 1;
    }
    if (ack->multiple) acked_all_up_to = ack->delivery_tag;
    amqp_maybe_release_buffers(connection);
}

int main(int count, char **arguments) {
    enum { MOST_MESSAGES = 1 << 25 };
    if (count != 11) fail("ten arguments, please");
    const double seconds = atof(arguments[7]);
    const uint64_t window = (uint64_t)atoll(arguments[8]);
    read_message(arguments[9]);
    const amqp_bytes_t body = read_body(arguments[10]);
    acked = calloc(MOST_MESSAGES, 1);

    amqp_connection_state_t connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(connection);
    if (!acked || !socket || amqp_socket_open(socket, arguments[1], atoi(arguments[2])))
        fail("no connection");
    check(amqp_login(connection, arguments[5], 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, arguments[3],
                     arguments[4]), "the server refused the login");
    amqp_channel_open(connection, 1);
    check(amqp_get_rpc_reply(connection), "no channel");
    const amqp_bytes_t queue = amqp_cstring_bytes(arguments[6]);
    amqp_queue_declare(connection, 1, queue, 0, 1, 0, 0, amqp_empty_table);
    check(amqp_get_rpc_reply(connection), "no queue");
    if (window) {
        amqp_confirm_select(connection, 1);
        check(amqp_get_rpc_reply(connection), "no confirms");
    }

    uint64_t sent = 0;
    const double started_s = now_s();
    while (now_s() - started_s < seconds && sent < MOST_MESSAGES - 1) {
        if (amqp_basic_publish(connection, 1, amqp_empty_bytes, queue, 0, 0, &properties, body))
            fail("a message was not sent");
        sent++;
        while (window && sent - acked_count >= window) wait_for_ack(connection);
    }
    while (window && acked_count < sent) wait_for_ack(connection);
    /* Without confirms the answer to this says that all before it has been read. */
    amqp_queue_declare(connection, 1, queue, 1, 1, 0, 0, amqp_empty_table);
    check(amqp_get_rpc_reply(connection), "the server ended the channel");
    printf("{\"per_s\": %.1f}\n", (double)sent / (now_s() - started_s));
    return 0;
}
