/* Version of the engine. */
#ifndef KDIFFE_VERSION_H
#define KDIFFE_VERSION_H

#define KDIFFE_VERSION "0.1.0"

#endif
