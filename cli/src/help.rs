//! The help texts.

pub(crate) const VERSION: &str = concat!("netbind ", env!("CARGO_PKG_VERSION"), "\n");

pub(crate) const TOOL: &str = "\
netbind runs programs that may listen only where a policy allows it.

  netbind run [POLICY] -- PROGRAM ARG...                supervises an unmodified program
  netbind open [POLICY] ADDRESS... -- PROGRAM ARG...    opens sockets for a program
  netbind check [POLICY] ADDRESS...                     prints what the policy decides

Try it:

  netbind run --allow 'port 8000' -- python3 -m http.server 8000
  netbind run --learn -- python3 -m http.server 8000      # prints the policy that it needs
  netbind check --allow 'port 8000' 127.0.0.1:8000 127.0.0.1:22

The policy is --allow RULE (repeatable) and --policy FILE (one rule a line; # begins a comment).
Without a rule nothing is allowed. The rules:

  port 8000                     this port on every IP address
  port 8000-8999                these ports on every IP address
  host 127.0.0.0/8 port 8080    this port on the addresses of a network
  path /run/app.sock            this Unix path
  beneath /run/app              every Unix path below this directory
  any-path                      every Unix path
  abstract app                  this abstract name
  abstract-prefix app.          every abstract name that begins so
  any-abstract                  every abstract name

The addresses: :8080, 127.0.0.1:8080, [::1]:8080, unix:/run/app.sock, /run/app.sock, unix:@app

See netbind run --help, netbind open --help, netbind check --help, and netbind(1).
";

pub(crate) const RUN: &str = "\
netbind run [OPTIONS] -- PROGRAM ARG...

Runs a program. It, and all that it starts, can listen only where the policy allows it. What is
refused is printed, with the rule that would allow it. The program need not know of netbind.

  netbind run --allow 'port 8000' -- python3 -m http.server 8000
  netbind run --allow 'beneath /run/redis' -- redis-server --port 0 --unixsocket /run/redis/r.sock
  netbind run --allow 'port 80' --privileged-ports -- nginx -g 'daemon off;'

  netbind run --learn-to web.policy -- ./server     # writes the rules that the server needs
  netbind run --policy web.policy -- ./server

  --allow RULE         allows what the rule says; can be repeated, see netbind --help
  --policy FILE        reads rules from a file, one a line
  --udp                judges UDP sockets by the rules too; without it they are refused
  --privileged-ports   lends the privilege of netbind for ports below 1024
  --learn              allows everything, and prints the policy at the end
  --learn-to FILE      the same, and writes the policy to a file
  --audit FILE         appends the audit trail to a file, instead of standard error
  --json               writes the trail as JSON

Signals go to the program. The exit status is that of the program, or 128 plus the signal that
ended it. It is 125 if netbind failed, 126 if the program cannot be executed, and 127 if it is not
found.
";

pub(crate) const OPEN: &str = "\
netbind open [OPTIONS] [NAME=]ADDRESS... -- PROGRAM ARG...

Opens sockets, and replaces itself by a program that gets them: as descriptors 3, 4 and so on, by
the protocol of systemd's socket activation (LISTEN_FDS). If one fails, none stays.

  netbind open --allow 'port 8080' :8080 -- ./server
  netbind open --allow 'port 80' --user nobody web=:80 -- ./server      # no root afterwards
  netbind open --allow 'beneath /run/app' --mode 660 --owner app:www --replace-stale \\
      /run/app/app.sock -- ./server

  --allow RULE         allows what the rule says; can be repeated, see netbind --help
  --policy FILE        reads rules from a file, one a line
  --user USER          the user of the program, by name or number, set after the sockets are open
  --group GROUP        its group; without it, that of the user
  --seal               the program can open no further listening socket
  --mode OCTAL         the permissions of Unix paths, such as 660; the umask applies
  --owner USER[:GROUP] the owner of Unix paths
  --replace-stale      replaces a Unix path whose server has ended
  --dual-stack         [::] takes IPv4 connections too
  --backlog N          how many connections may wait
  --audit FILE         appends the audit trail to a file, instead of standard error
  --json               writes the trail as JSON

A socket without NAME= is named unknown. The exit status is that of the program. It is 125 if
netbind failed, 126 if the program cannot be executed, 127 if it is not found.
";

pub(crate) const CHECK: &str = "\
netbind check [OPTIONS] ADDRESS...

Prints what the policy decides about each address, and opens nothing.

  $ netbind check --allow 'host 127.0.0.0/8 port 8000-8999' 127.0.0.1:8080 :8080
  allowed 127.0.0.1:8080
  denied 0.0.0.0:8080

  --allow RULE         allows what the rule says; can be repeated, see netbind --help
  --policy FILE        reads rules from a file, one a line
  --dual-stack         decides for sockets that take IPv4 connections on [::] too
  --audit FILE         appends the decisions to an audit trail
  --json               writes the trail as JSON

The exit status is 0 if all are allowed, 1 if not, and 125 for malformed input.
";
