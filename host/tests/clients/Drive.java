// Java's own HTTP client through the proxy; see drive.py for what it does.

import java.io.FileInputStream;
import java.io.InputStream;
import java.net.Authenticator;
import java.net.InetSocketAddress;
import java.net.PasswordAuthentication;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.WebSocket;
import java.security.KeyStore;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public final class Drive {
    private static final String BASE = System.getenv("CLIENTS_BASE");
    private static final String BODY = "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    private static final int EVENTS = 6;

    public static void main(String[] arguments) throws Exception {
        // Basic is not spoken to proxies of TLS unless it is said so, and before the client is loaded.
        System.setProperty("jdk.http.auth.tunneling.disabledSchemes", "");
        URI proxy = URI.create(System.getenv("CLIENTS_PROXY"));
        String[] credentials = proxy.getUserInfo().split(":", 2);
        HttpClient client = HttpClient.newBuilder()
            .proxy(ProxySelector.of(new InetSocketAddress(proxy.getHost(), proxy.getPort())))
            .authenticator(new Authenticator() {
                @Override
                protected PasswordAuthentication getPasswordAuthentication() {
                    boolean asksProxy = getRequestorType() == RequestorType.PROXY;
                    return asksProxy ? new PasswordAuthentication(credentials[0], credentials[1].toCharArray()) : null;
                }
            })
            .sslContext(trusting(System.getenv("CLIENTS_STORE")))
            .build();

        check(get(client, "/plain").equals("plain"), "the plain answer is another");
        HttpRequest stream = HttpRequest.newBuilder(URI.create(BASE + "/v1/chat/completions"))
            .header("content-type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(BODY))
            .build();
        var answer = client.send(stream, BodyHandlers.ofLines());
        check(answer.version() == HttpClient.Version.HTTP_2, "the answer came over " + answer.version());
        int events = 0;
        for (String line : (Iterable<String>) answer.body()::iterator) {
            if (line.startsWith("data: ")) {
                events += 1;
                get(client, "/ack");
            }
        }
        check(events == EVENTS, events + " events");
        check(said(client, "hello").equals("hello"), "the echo is another");
        System.exit(0);
    }

    private static String get(HttpClient client, String path) throws Exception {
        return client.send(HttpRequest.newBuilder(URI.create(BASE + path)).build(), BodyHandlers.ofString()).body();
    }

    /** What comes back over a WebSocket. */
    private static String said(HttpClient client, String text) throws Exception {
        var heard = new CompletableFuture<String>();
        var closed = new CompletableFuture<Void>();
        WebSocket socket = client.newWebSocketBuilder().buildAsync(URI.create(BASE.replace("https", "wss") + "/responses"), new WebSocket.Listener() {
            @Override
            public CompletionStage<?> onText(WebSocket socket, CharSequence data, boolean last) {
                heard.complete(data.toString());
                socket.request(1);
                return null;
            }

            @Override
            public CompletionStage<?> onClose(WebSocket socket, int status, String reason) {
                closed.complete(null);
                return null;
            }

            @Override
            public void onError(WebSocket socket, Throwable error) {
                heard.completeExceptionally(error);
                closed.completeExceptionally(error);
            }
        }).join();
        socket.sendText(text, true).join();
        String echo = heard.join();
        socket.sendClose(WebSocket.NORMAL_CLOSURE, "").join();
        closed.join();
        return echo;
    }

    private static SSLContext trusting(String path) throws Exception {
        // As the proxy gives it, with the password that stands against damage.
        KeyStore roots = KeyStore.getInstance("PKCS12");
        try (InputStream file = new FileInputStream(path)) {
            roots.load(file, "changeit".toCharArray());
        }
        check(roots.size() == 1, "there are " + roots.size() + " certificates in the store");
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(roots);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context;
    }

    private static void check(boolean holds, String otherwise) {
        if (!holds) {
            throw new AssertionError(otherwise);
        }
    }
}
