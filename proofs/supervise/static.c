/* A static program that serves `hello` at a port of 127.0.0.1. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int count, char **arguments) {
    int port = count > 1 ? atoi(arguments[1]) : 0;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 9)) {
        perror("static");
        return 1;
    }
    for (int client; (client = accept(listener, NULL, NULL)) >= 0; close(client)) {
        if (write(client, "hello\n", 6) != 6) {
            return 1;
        }
    }
}
