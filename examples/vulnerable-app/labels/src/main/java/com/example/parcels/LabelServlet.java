package com.example.parcels;

import java.io.File;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.security.MessageDigest;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.Statement;
import javax.servlet.http.HttpServlet;
import javax.servlet.http.HttpServletRequest;
import javax.servlet.http.HttpServletResponse;
import javax.sql.DataSource;

/** Prints the labels of parcels. */
public class LabelServlet extends HttpServlet {
    private final DataSource source;

    public LabelServlet(DataSource source) {
        this.source = source;
    }

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        String code = request.getParameter("code");
        try (Connection db = source.getConnection(); Statement statement = db.createStatement()) {
            ResultSet rows = statement.executeQuery("SELECT name FROM labels WHERE code = '" + code + "'");
            while (rows.next()) {
                File label = new File("/var/lib/parcels/labels", request.getParameter("file"));
                response.setContentLengthLong(label.length());
            }
        } catch (Exception e) {
            response.getWriter().println("<p>No label for " + code + "</p>");
        }
    }

    @Override
    protected void doPost(HttpServletRequest request, HttpServletResponse response) throws IOException {
        try {
            ObjectInputStream in = new ObjectInputStream(request.getInputStream());
            Object job = in.readObject();
            Runtime.getRuntime().exec("lp -d labels -t " + job);
            MessageDigest digest = MessageDigest.getInstance("SHA-1");
            response.setHeader("ETag", new String(digest.digest(job.toString().getBytes())));
        } catch (Exception e) {
            response.setStatus(500);
        }
    }
}
