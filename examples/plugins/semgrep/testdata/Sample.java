// What each rule is for, and what it must leave alone: see sample.py.
import java.io.*;
import java.net.*;
import java.nio.file.*;
import java.security.MessageDigest;
import java.sql.*;
import javax.crypto.Cipher;
import javax.script.ScriptEngine;
import javax.servlet.http.*;

public class Sample {
  void sql(Connection db, Statement statement, String name) throws Exception {
    // ruleid: java-sql-injection
    statement.executeQuery("SELECT * FROM users WHERE name = '" + name + "'");
    String query = String.format("SELECT * FROM users WHERE name = '%s'", name);
    // ruleid: java-sql-injection
    statement.execute(query);
    // ok: java-sql-injection
    db.prepareStatement("SELECT * FROM users WHERE name = ?").setString(1, name);
  }

  void command(String name) throws Exception {
    // ruleid: java-command-injection
    Runtime.getRuntime().exec("ping " + name);
    // ruleid: java-command-injection
    new ProcessBuilder("sh", "-c", "ping " + name).start();
    // ok: java-command-injection
    new ProcessBuilder("ping", name).start();
    // ok: java-command-injection
    Runtime.getRuntime().exec("uptime");
  }

  void code(ScriptEngine engine, String text) throws Exception {
    // ruleid: java-code-injection
    engine.eval(text);
    // ok: java-code-injection
    engine.eval("1 + 1");
  }

  Object load(InputStream in, DataInputStream data) throws Exception {
    ObjectInputStream objects = new ObjectInputStream(in);
    // ruleid: java-unsafe-deserialization
    Object o = objects.readObject();
    // ok: java-unsafe-deserialization
    return o == null ? data.readUTF() : o;
  }

  void crypto() throws Exception {
    // ruleid: java-weak-crypto
    MessageDigest.getInstance("MD5");
    // ruleid: java-weak-crypto
    Cipher.getInstance("AES/ECB/PKCS5Padding");
    // ruleid: java-weak-crypto
    Cipher.getInstance("DES");
    // ok: java-weak-crypto
    MessageDigest.getInstance("SHA-256");
    // ok: java-weak-crypto
    Cipher.getInstance("AES/GCM/NoPadding");
  }

  void files(HttpServletRequest request) throws Exception {
    String name = request.getParameter("name");
    // ruleid: java-path-traversal
    new FileInputStream("/srv/files/" + name);
    // ruleid: java-path-traversal
    Paths.get("/srv/files", name);
    // ok: java-path-traversal
    new FileInputStream("/srv/files/" + FilenameUtils.getName(name));
  }

  void fetch(HttpServletRequest request) throws Exception {
    // ruleid: java-ssrf
    new URL(request.getParameter("url")).openStream();
    // ok: java-ssrf
    new URL("https://example.com/?q=" + URLEncoder.encode(request.getParameter("q"), "UTF-8"));
  }

  void hello(HttpServletRequest request, HttpServletResponse response) throws Exception {
    String name = request.getParameter("name");
    // ruleid: java-xss
    response.getWriter().println("<h1>" + name + "</h1>");
    // ok: java-xss
    response.getWriter().println("<h1>" + Encode.forHtml(name) + "</h1>");
  }

  // ruleid: java-ssrf
  String proxy(@RequestParam String url) { return URI.create(url).toString(); }
}
